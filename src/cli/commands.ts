import { acceptGap } from "./accept-gap.ts";
import { apply } from "./apply.ts";
import { check } from "./check.ts";
import type { Command } from "./command.ts";
import { exportCommand } from "./export.ts";
import { health } from "./health.ts";
import { install } from "./install.ts";
import { keysGenerate } from "./keys-generate.ts";
import { keysJwks } from "./keys-jwks.ts";
import { listen } from "./listen.ts";
import { preview } from "./preview.ts";
import { run } from "./run.ts";
import { schedule } from "./schedule.ts";
import { sign } from "./sign.ts";
import { uninstall } from "./uninstall.ts";
import { verify } from "./verify.ts";

/** Every command, in the order in which a new user meets them. */
export const COMMANDS: readonly Command[] = [
  install,
  run,
  check,
  health,
  preview,
  exportCommand,
  apply,
  schedule,
  keysGenerate,
  keysJwks,
  listen,
  verify,
  sign,
  acceptGap,
  uninstall,
];
