import type pg from "pg";
import type { Random } from "../random.ts";
import { laterTable, type WatchedTable } from "./watched-table.ts";
import { laterWebhook } from "./webhooks.ts";
import type { World } from "../world.ts";

/** Changes of the schema while rows are written. */
export class SchemaChanges {
  readonly #world: World;
  readonly #onTable: (table: WatchedTable) => void;
  #tables = 0;
  #columns = 0;
  readonly #added: { readonly table: string; readonly column: string }[] = [];

  /** @param onTable a table that is watched from now on */
  constructor(world: World, onTable: (table: WatchedTable) => void) {
    this.#world = world;
    this.#onTable = onTable;
  }

  /** Adds a column, drops one that was added, or makes a table with a webhook of its own. */
  async change(random: Random): Promise<void> {
    const kind = random.next();
    if (kind < 0.4) return this.#addColumn(random.pick(["simple", "composite", "parted", "typed"]), random);
    if (kind < 0.75 && this.#added.length > 0) return this.#dropColumn();
    return this.#addTable();
  }

  async #addColumn(table: string, random: Random): Promise<void> {
    const column = `extra_${++this.#columns}`;
    const type = random.pick(["text", "integer default 7", "timestamptz default now()", "text not null default 'é'"]);
    await this.#asOwner((app) => app.query(`alter table ${table} add column ${column} ${type}`));
    this.#added.push({ table, column });
  }

  async #dropColumn(): Promise<void> {
    const added = this.#added.shift();
    if (added !== undefined) {
      await this.#asOwner((app) => app.query(`alter table ${added.table} drop column if exists ${added.column}`));
    }
  }

  async #addTable(): Promise<void> {
    const table = laterTable(++this.#tables);
    await this.#asOwner((app) => app.query(table.ddl));
    await this.#world.addWebhook(laterWebhook(table.name));
    this.#onTable(table);
  }

  async #asOwner(run: (app: pg.Client) => Promise<unknown>): Promise<void> {
    const app = await this.#world.connect("app");
    try {
      // Whoever waits for such a lock makes everybody else wait behind it.
      await app.query("set lock_timeout = '1s'");
      await run(app);
    } finally {
      await app.end();
    }
  }
}
