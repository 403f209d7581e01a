import pg from "pg";
import type { Expectation } from "./ledger.ts";

/** One transaction of the shop; returns what Walhook must deliver once it has committed. */
type Transaction = (client: pg.Client) => Promise<readonly Expectation[]>;

/**
 * The shop's application: as role shop_app it takes orders, is paid, ships, and knows nothing of webhooks.
 */
export class Writer {
  readonly #client: pg.Client;
  readonly #onCommit: (expectations: readonly Expectation[]) => void;
  #transactions = 0;
  #rollbacks = 0;

  private constructor(client: pg.Client, onCommit: (expectations: readonly Expectation[]) => void) {
    this.#client = client;
    this.#onCommit = onCommit;
  }

  static async connect(url: string, onCommit: (expectations: readonly Expectation[]) => void): Promise<Writer> {
    const client = new pg.Client({ connectionString: url, application_name: "shop" });
    client.on("error", () => {});
    await client.connect();
    return new Writer(client, onCommit);
  }

  get transactions(): number {
    return this.#transactions;
  }

  get rollbacks(): number {
    return this.#rollbacks;
  }

  /** Makes one transaction; one in fifteen is rolled back, and must lead to nothing. */
  async step(): Promise<void> {
    const transaction = pick(TRANSACTIONS);
    await this.#client.query("begin");
    try {
      const expectations = await transaction(this.#client);
      if (Math.random() < 1 / 15) {
        await this.#client.query("rollback");
        this.#rollbacks++;
        return;
      }
      await this.#client.query("commit");
      this.#transactions++;
      this.#onCommit(expectations);
    } catch (error) {
      await this.#client.query("rollback").catch(() => {});
      throw error;
    }
  }

  close(): Promise<void> {
    return this.#client.end();
  }
}

const placeOrder: Transaction = async (client) => {
  const order = await first<{ id: string }>(
    client,
    `insert into orders (customer_id, status, note)
     select id, 'Confirmed', nullif($1, '') from customer order by random() limit 1 returning id`,
    [Math.random() < 0.2 ? 'Ring twice, "back door" – thanks ☕' : ""],
  );
  if (order === null) return [];
  const lines = await client.query<{ line_no: number }>(
    `insert into order_item (order_id, line_no, sku, quantity, price)
     select $1, row_number() over (), sku, 1 + floor(random() * 4), price
     from (select sku, price from product order by random() limit $2) as chosen returning line_no`,
    [order.id, 1 + Math.floor(Math.random() * 3)],
  );
  return [
    { webhook: "new-order", event: "after_insert", document: order.id },
    ...lines.rows.map(({ line_no }) => lineExpectation("after_insert", order.id, line_no)),
  ];
};

const payOrder: Transaction = async (client) => {
  const order = await first<{ id: string }>(
    client,
    `update orders set status = 'Paid', total = (select sum(quantity * price) from order_item where order_id = orders.id)
     where id = (select id from orders where status = 'Confirmed' order by random() limit 1) returning id`,
  );
  return order === null ? [] : [{ webhook: "order-paid", event: "on_update", document: order.id }];
};

/** Changes an order without paying it: the condition must keep quiet. */
const noteOnOrder: Transaction = async (client) => {
  await client.query(
    "update orders set note = 'called ' || now() where id = (select id from orders order by random() limit 1)",
  );
  return [];
};

const cancelLine: Transaction = async (client) => {
  const line = await first<{ order_id: string; line_no: number }>(
    client,
    `delete from order_item where (order_id, line_no) =
       (select order_id, line_no from order_item where line_no > 1 order by random() limit 1)
     returning order_id, line_no`,
  );
  return line === null ? [] : [lineExpectation("on_trash", line.order_id, line.line_no)];
};

const draftInvoice: Transaction = async (client) => {
  await client.query(
    `insert into invoice (name, order_id, amount, due_on)
     select 'INV-' || to_char(1 + (select count(*) from invoice), 'FM00000'), id, greatest(total, 1), current_date + 14
     from orders order by random() limit 1
     on conflict do nothing`,
  );
  return [];
};

const submitInvoice: Transaction = (client) => moveInvoice(client, 0, 1, "invoice-submitted", "on_submit");
const cancelInvoice: Transaction = (client) => moveInvoice(client, 1, 2, "invoice-cancelled", "on_cancel");

async function moveInvoice(
  client: pg.Client,
  from: number,
  to: number,
  webhook: string,
  event: string,
): Promise<readonly Expectation[]> {
  const invoice = await first<{ name: string }>(
    client,
    `update invoice set docstatus = $2
     where name = (select name from invoice where docstatus = $1 order by random() limit 1) returning name`,
    [from, to],
  );
  return invoice === null ? [] : [{ webhook, event, document: invoice.name }];
}

const changePrice: Transaction = async (client) => {
  const product = await first<{ sku: string }>(
    client,
    `update product set price = round(price * (0.95 + random() * 0.1)::numeric, 2), stock = stock - 1
     where sku = (select sku from product order by random() limit 1) returning sku`,
  );
  return product === null ? [] : [{ webhook: "search-index", event: "on_update", document: product.sku }];
};

const moveCustomer: Transaction = async (client) => {
  const city = pick(["Berlin", "Lisbon", "Oslo", "Kraków", "Zürich", "Ghent"]);
  const customer = await first<{ id: number }>(
    client,
    `update customer set city = $1
     where id = (select id from customer where city is distinct from $1 order by random() limit 1) returning id`,
    [city],
  );
  return customer === null ? [] : [{ webhook: "customer-changed", event: "on_change", document: String(customer.id) }];
};

const readSensors: Transaction = async (client) => {
  const { rows } = await client.query<{ sensor: string; at: string; celsius: number }>(
    `insert into measurement (sensor, measured_at, celsius)
     select 'cold-' || n, clock_timestamp(), round((3 + random() * 6)::numeric, 2) from generate_series(1, 4) as n
     returning sensor, to_char(measured_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') as at, celsius::float8`,
  );
  return rows
    .filter(({ celsius }) => celsius > 8)
    .map(({ sensor, at }) => ({
      webhook: "too-warm",
      event: "after_insert",
      // As Postgres writes a timestamptz in UTC: without zeros at the end of the fraction.
      document: JSON.stringify([sensor, `${at.replace(/\.?0+$/, "")}+00`]),
    }));
};

const shipOrder: Transaction = async (client) => {
  const shipment = await first<{ id: string }>(
    client,
    `insert into shipment (order_id, is_express, parcels, weight_kg, insured, label, address, tags, stops, window_of,
       ready_at, picked_up_on, slot, transit, tracking_ip, checksum)
     select id, random() < 0.5, 1 + floor(random() * 3), random() * 30, 12345678901234.5678, '\\xdeadbeef',
       '{"street": "Rue de l''Église 5", "zip": "75011", "geo": [48.85, 2.35], "big": 12345678901234567890}',
       array['fragile', 'a "quoted" tag', null], array[point(1, 2)], tstzrange(now(), now() + interval '2 h'),
       now(), current_date, '14:30', interval '1 day 02:03:04', '192.168.0.1/24', B'10100101'
     from orders order by random() limit 1 returning id`,
  );
  return shipment === null ? [] : [{ webhook: "shipment", event: "after_insert", document: shipment.id }];
};

const audit: Transaction = async (client) => {
  await client.query("insert into audit_line (who, what) values ('shop_app', 'stock counted')");
  return [{ webhook: "audit", event: "after_insert", document: "" }];
};

/** More of what happens more often. */
const TRANSACTIONS: readonly Transaction[] = [
  placeOrder,
  placeOrder,
  placeOrder,
  payOrder,
  payOrder,
  noteOnOrder,
  cancelLine,
  draftInvoice,
  draftInvoice,
  submitInvoice,
  cancelInvoice,
  changePrice,
  moveCustomer,
  readSensors,
  readSensors,
  shipOrder,
  audit,
];

function lineExpectation(event: string, orderId: string, lineNo: number): Expectation {
  return { webhook: "order-lines", event, document: JSON.stringify([orderId, String(lineNo)]) };
}

async function first<Row extends pg.QueryResultRow>(
  client: pg.Client,
  sql: string,
  params: readonly unknown[] = [],
): Promise<Row | null> {
  const { rows } = await client.query<Row>(sql, [...params]);
  return rows[0] ?? null;
}

function pick<T>(items: readonly T[]): T {
  const item = items[Math.floor(Math.random() * items.length)];
  if (item === undefined) throw new RangeError("nothing to choose from");
  return item;
}
