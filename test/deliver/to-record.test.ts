import { describe, expect, it } from "vitest";
import type { Attempt } from "../../src/deliver/attempt.ts";
import type { AttemptRecord } from "../../src/deliver/attempt-record.ts";
import { withoutSecrets } from "../../src/deliver/logged-headers.ts";
import { toRecord } from "../../src/deliver/to-record.ts";
import type { Kept } from "../../src/match/webhook.ts";
import { PLAIN_ROUTE } from "../support/route.ts";

const delivery = {} as AttemptRecord["delivery"];
function recordOf(over: Partial<Attempt> = {}, isFirst = true): AttemptRecord {
  const attempt: Attempt = {
    id: "msg_1",
    request: {
      url: "https://example.com/",
      method: "POST",
      headers: [],
      body: Buffer.from('{"a":"é"}'),
      timeoutMs: 1,
      route: PLAIN_ROUTE,
    },
    host: "example.com",
    result: { kind: "response", statusCode: 200, headers: {}, body: "größe", durationMs: 1 },
    keyIds: ["3", "4"],
    kept: { requestBytes: null, responseBytes: null },
    sentAtMs: 0,
    ...over,
  };
  return toRecord(attempt, { delivery, attempts: 1 }, "delivered", isFirst);
}
const keeping = (kept: Partial<Kept>) => {
  const record = recordOf({ kept: { requestBytes: null, responseBytes: null, ...kept } });
  return { ...record, requestBody: record.requestBody?.toString() ?? null };
};

describe("what the log keeps of a body sent", () => {
  it.each([
    [null, '{"a":"é"}', "whole"],
    [100, '{"a":"é"}', "whole"],
    [10, '{"a":"é"}', "whole"],
    [9, '{"a":"é"', "part"],
    [7, '{"a":"', "part"],
    [1, "{", "part"],
    [0, null, "none"],
  ])("with log_request_bytes %s is %s, and the log says so", (requestBytes, requestBody, bodyKept) => {
    expect(keeping({ requestBytes })).toMatchObject({ requestBody, bodyKept, requestBytes: 10 });
  });
  it("is nothing in the rows of a batch but its first, and the log says so", () => {
    expect(recordOf({}, false)).toMatchObject({ requestBody: null, responseBody: null, bodyKept: "batch" });
  });
});

describe("what the log keeps of an answer's body", () => {
  it.each([
    [null, "größe"],
    [7, "größe"],
    [3, "gr"],
    [4, "grö"],
    [0, null],
  ])("with log_response_bytes %s is %s", (responseBytes, responseBody) => {
    expect(keeping({ responseBytes })).toMatchObject({ responseBody, bodyKept: "whole" });
  });
});

describe("the headers in the log", () => {
  it("have the values of those that say nothing secret, and the names of all", () => {
    const headers = [
      ["webhook-id", "msg_1"],
      ["Content-Type", "application/json"],
      ["webhook-signature", "v1,abc"],
      ["X-Hub-Signature-256", "sha256=abc"],
      ["X-Api-Key", "abc"],
      ["authorization", "Basic abc"],
    ] as const;
    const { requestHeaders } = recordOf({ request: { ...requestWith(headers) } });
    expect(requestHeaders).toEqual({
      "webhook-id": "msg_1",
      "Content-Type": "application/json",
      "webhook-signature": "[redacted]",
      "X-Hub-Signature-256": "[redacted]",
      "X-Api-Key": "[redacted]",
      authorization: "[redacted]",
    });
  });
  it("of an answer have the values that help to find it again", () => {
    const headers = {
      "x-request-id": "7",
      "retry-after": "5",
      "x-session-token": "abc",
      "www-authenticate": "Bearer abc",
      location: "https://me:abc@example.com/login?token=abc#abc",
    };
    const result = { kind: "response", statusCode: 302, headers, body: "", durationMs: 1 } as const;
    expect(recordOf({ result }).responseHeaders).toEqual({
      "x-request-id": "7",
      "retry-after": "5",
      "x-session-token": "[redacted]",
      "www-authenticate": "[redacted]",
      location: "https://example.com/login?[redacted]",
    });
    const { error } = toRecord({ ...attemptWith(), result }, { delivery, attempts: 1 }, "retry");
    expect(error).toContain("HTTP 302 to https://example.com/login?[redacted]:");
  });
});

describe("a URL without secrets", () => {
  it.each([
    ["/next", "/next"],
    ["//me:p@host/a", "//host/a"],
    ["https://host/a@b", "https://host/a@b"],
    ["?a=b", "?[redacted]"],
    ["https://host?a=b\nc", "https://host?[redacted]"],
  ])("%s is %s", (url, shown) => {
    expect(withoutSecrets(url)).toBe(shown);
  });
});

function attemptWith(headers: Attempt["request"]["headers"] = []): Attempt {
  return {
    id: "msg_1",
    request: requestWith(headers),
    host: "example.com",
    result: { kind: "failure", errorClass: "reset", message: "", durationMs: 1 },
    keyIds: [],
    kept: { requestBytes: null, responseBytes: null },
    sentAtMs: 0,
  };
}
function requestWith(headers: Attempt["request"]["headers"]): Attempt["request"] {
  return {
    url: "https://example.com/",
    method: "POST",
    headers,
    body: Buffer.from("{}"),
    timeoutMs: 1,
    route: PLAIN_ROUTE,
  };
}
