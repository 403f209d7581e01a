import { escapeLiteral } from "pg";
import { ok, problem, warning, type Finding } from "./finding.ts";
import { quote } from "./check-server.ts";
import type { AuthorFacts, TableFacts } from "./table-facts.ts";

/** Judges every watched table: whether its changes can reach its webhooks, and do the application no harm. */
export function checkTables(tables: readonly TableFacts[]): readonly Finding[] {
  return tables.flatMap((table) => {
    const findings = table.exists ? judge(table) : [dropped(table)];
    return findings.length > 0 ? findings : [ok(where(table), `published for ${table.webhooks.join(", ")}`)];
  });
}

/** Judges the authors: a webhook whose author lost a right is held until it is given back. */
export function checkAuthors(authors: readonly AuthorFacts[]): readonly Finding[] {
  return authors.map(({ webhook, reason }) =>
    problem(
      `webhook ${webhook}`,
      `is held: ${reason}`,
      "Give the author the right again, or update the webhook's row as a role that has it.",
    ),
  );
}

function where({ doctype }: TableFacts): string {
  return `table ${doctype}`;
}

function dropped(table: TableFacts): Finding {
  const names = table.webhooks.map((name) => escapeLiteral(name)).join(", ");
  return table.successor === null
    ? problem(
        where(table),
        `was dropped; ${table.webhooks.join(", ")} wait for a table that does not come back`,
        `delete from walhook.webhook where name in (${names});`,
      )
    : problem(
        where(table),
        "was dropped, and another table has its name now: its changes are not sent",
        `update walhook.webhook set webhook_doctype = '${table.successor}' where name in (${names});`,
      );
}

function judge(table: TableFacts): Finding[] {
  const findings: Finding[] = [];
  const isPublished = table.isInAllPublication || (table.isInInsertPublication && !table.needsAllChanges);
  if (!isPublished) {
    const publication = table.needsAllChanges ? "walhook_all" : "walhook_insert";
    findings.push(
      problem(
        where(table),
        `is not in publication ${publication}: its changes are not sent`,
        "`walhook accept-gap` puts it back.",
      ),
    );
  }
  if (!table.isKeeperMemberOfOwner) {
    findings.push(
      warning(
        where(table),
        `${table.keeper} is not a member of its owner: webhooks on it can no longer be added or taken away`,
        `GRANT ${quote(table.owner)} TO ${quote(table.keeper)};`,
      ),
    );
  }
  if (!table.hasPrimaryKey) {
    findings.push(
      warning(
        where(table),
        "has no primary key: no document names, no order between its deliveries",
        `ALTER TABLE ${table.name} ADD PRIMARY KEY (…);`,
      ),
    );
  }
  if (table.missesAttached) {
    findings.push(
      warning(
        where(table),
        "rows of a partition that is attached while the bridge runs are missed: PostgreSQL 14 without walhook_guard",
        "As a superuser: psql -f sql/070_guard.sql; until then restart the bridge after each ATTACH PARTITION.",
      ),
    );
  }
  if (table.isInAllPublication) findings.push(...identities(table));
  return findings;
}

function identities(table: TableFacts): readonly Finding[] {
  return table.leaves.flatMap(({ name, replicaIdentity, isIdentifiable }) => {
    const place = name === table.name ? where(table) : `partition ${name} of ${table.doctype}`;
    if (!isIdentifiable) {
      return [
        problem(
          place,
          "is published for updates without a replica identity: the application's UPDATEs and DELETEs fail",
          `ALTER TABLE ${name} REPLICA IDENTITY FULL; or give it a primary key`,
        ),
      ];
    }
    if (table.needsOldRow && replicaIdentity !== "f") {
      return [
        warning(
          place,
          "does not write whole old rows, which a webhook needs",
          `ALTER TABLE ${name} REPLICA IDENTITY FULL;`,
        ),
      ];
    }
    return [];
  });
}
