import { describe, expect, test } from "vitest";
import { classify, explain, WalhookError } from "../src/errors.ts";

/** An error as the driver throws it for what the server reports. */
function serverError(code: string, message: string): Error {
  return Object.assign(new Error(message), { code });
}

describe("classify", () => {
  test.each([
    ["08006", "connection failure", "connection_lost"],
    ["57P01", "terminating connection due to administrator command", "database_down"],
    ["57P03", "the database system is starting up", "database_down"],
    ["55006", 'replication slot "walhook_5_1" is active for PID 4711', "slot_in_use"],
    ["53300", "sorry, too many clients already", "too_many_connections"],
    ["40001", "could not serialize access", "conflict"],
    ["40P01", "deadlock detected", "conflict"],
    ["25006", "cannot execute INSERT in a read-only transaction", "database_read_only"],
    ["ECONNREFUSED", "connect ECONNREFUSED 127.0.0.1:5432", "database_down"],
    ["ECONNRESET", "read ECONNRESET", "connection_lost"],
    ["ENOTFOUND", "getaddrinfo ENOTFOUND db", "host_unknown"],
  ])("waiting can help after %s %s", (code, message, name) => {
    expect(classify(serverError(code, message))).toMatchObject({ kind: "retry", code: name });
  });

  test.each([
    ["28P01", 'password authentication failed for user "bridge"', "wrong_password"],
    ["28000", 'role "bridge" does not exist', "login_refused"],
    ["3D000", 'database "shop" does not exist', "database_unknown"],
    ["42501", "permission denied to start WAL sender", "no_replication_right"],
    ["42501", "must be superuser or replication role to start walsender", "no_replication_right"],
    ["42501", "permission denied for table webhook_secret", "no_right"],
    ["55000", "logical decoding requires wal_level >= logical", "wal_level_not_logical"],
    ["55000", 'logical decoding requires "wal_level" >= "logical"', "wal_level_not_logical"],
    ["55000", 'can no longer access replication slot "walhook_5_1"', "slot_lost"],
    ["55000", 'cannot read from logical replication slot "walhook_5_1"', "slot_lost"],
    ["42704", 'replication slot "walhook_5_1" does not exist', "slot_missing"],
    ["42704", 'publication "walhook_all" does not exist', "publication_missing"],
    ["53400", "all replication slots are in use", "slots_full"],
    ["42P01", 'relation "walhook.bridge" does not exist', "not_installed"],
    ["3F000", 'schema "walhook" does not exist', "not_installed"],
    ["42883", "function walhook.ask(text) does not exist", "schema_too_old"],
    ["DEPTH_ZERO_SELF_SIGNED_CERT", "self-signed certificate", "certificate_refused"],
  ])("somebody must act after %s %s", (code, message, name) => {
    const result = classify(serverError(code, message));
    expect(result).toMatchObject({ kind: "fatal", code: name });
    expect(result.hint).not.toBeNull();
  });

  test("the driver's own errors have no code and are known by their words", () => {
    expect(classify(new Error("Connection terminated unexpectedly"))).toMatchObject({ kind: "retry" });
    expect(classify(new Error("timeout exceeded when trying to connect"))).toMatchObject({ kind: "retry" });
    expect(classify(new Error("The server does not support SSL connections"))).toMatchObject({
      kind: "fatal",
      code: "tls_unsupported",
    });
  });

  test("a name with two addresses that both refuse is one error with words", () => {
    const refused = new AggregateError([new Error("connect ECONNREFUSED ::1:5432"), new Error("connect ECONNREFUSED")]);
    Object.assign(refused, { code: "ECONNREFUSED" });
    const result = classify(refused);
    expect(result.code).toBe("database_down");
    expect(result.message).toContain("::1:5432");
  });

  test("what no rule knows is fatal, so that nothing loops unseen", () => {
    expect(classify(new TypeError("x is undefined"))).toMatchObject({ kind: "fatal", code: "unexpected" });
    expect(classify(serverError("22012", "division by zero"))).toMatchObject({ kind: "fatal", code: "unexpected" });
    expect(classify("a string")).toMatchObject({ kind: "fatal", message: "a string" });
  });
});

describe("explain", () => {
  test("says what, where and what to do, and keeps the cause", () => {
    const cause = serverError("28P01", "password authentication failed");
    const error = explain(cause, "connecting to postgresql://bridge@db/shop");
    expect(error).toBeInstanceOf(WalhookError);
    expect(error.message).toBe(
      "the database refuses the password (connecting to postgresql://bridge@db/shop): password authentication failed",
    );
    expect(error).toMatchObject({ code: "wrong_password", exitCode: 3, cause });
    expect(error.hint).toContain("DATABASE_URL");
  });

  test("exit codes tell what to do: 4 start again later, 3 mend the database, 1 nobody foresaw it", () => {
    expect(explain(serverError("ECONNREFUSED", "no"), "x").exitCode).toBe(4);
    expect(explain(serverError("3D000", "no"), "x").exitCode).toBe(3);
    expect(explain(new TypeError("no"), "x").exitCode).toBe(1);
  });

  test("what is explained already stays as it is", () => {
    const error = new WalhookError("known", { code: "known" });
    expect(explain(error, "anywhere")).toBe(error);
  });
});
