import type pg from "pg";
import { attempt } from "../deliver/attempt.ts";
import { unsentRecord, type AttemptRecord, type Outcome } from "../deliver/attempt-record.ts";
import { decideRetry } from "../deliver/retry.ts";
import { toRecord } from "../deliver/to-record.ts";
import type { Transport, TransportResult } from "../deliver/transport.ts";
import type { Webhook } from "../match/webhook.ts";
import { copyToLog } from "../record/log-copy.ts";
import type { Previewer } from "./previewer.ts";
import type { PreviewQuestion } from "./preview-question.ts";

/** By this header a receiver knows a test. */
const TEST_HEADER = "webhook-test";

/**
 * Sends what was asked for, once, whether its condition holds or not, and returns its log row. Lanes, queue and cursor have
 * nothing to do with it. Never rejects for what webhook or receiver do.
 */
export async function sendTest(
  previewer: Previewer,
  question: PreviewQuestion,
  transport: Transport,
): Promise<AttemptRecord> {
  const asked = previewer.eventOf(question.rows[0]!);
  const order = previewer.orderOf(asked, question.id!);
  const delivery = { ...order.delivery, source: "test" as const };
  if (order.kind !== "request") {
    const isKnown = order.kind === "unsendable";
    return unsentRecord(
      delivery,
      isKnown ? order.outcome : "error",
      order.reason,
      Date.now(),
      isKnown ? order.errorClass : null,
    );
  }
  const problem = question.held ?? previewer.keys.problemOf(previewer.webhook, Date.now());
  if (problem !== null) return unsentRecord(delivery, "error", `the webhook is held: ${problem}`, Date.now());
  const made = await attempt(previewer.parcelOf(order), marked(previewer.webhook), { transport, keys: previewer.keys });
  return toRecord(made, { delivery, attempts: 1 }, outcomeOf(made.result));
}

/** Writes its log row. */
export async function logTest(client: pg.ClientBase, record: AttemptRecord): Promise<void> {
  await client.query("begin");
  try {
    await copyToLog(client, [record]);
    await client.query("commit");
  } catch (error) {
    await client.query("rollback").catch(() => {});
    throw error;
  }
}

function marked(webhook: Webhook): Webhook {
  const others = webhook.headers.filter(({ key }) => key.toLowerCase() !== TEST_HEADER);
  return { ...webhook, headers: [...others, { key: TEST_HEADER, value: "true" }] };
}

/** There is no second attempt, and no dead letter. */
function outcomeOf(result: TransportResult): Outcome {
  const decision = decideRetry(result, 1, { scheduleMs: [], nowMs: Date.now(), random: 0 });
  if (decision.kind === "delivered") return "delivered";
  return result.kind === "failure" && result.errorClass === "blocked_address" ? "blocked" : "error";
}
