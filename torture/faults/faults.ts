import type { Fault } from "./fault.ts";
import { NETWORK_FAULTS } from "./network-faults.ts";
import { PROCESS_FAULTS } from "./process-faults.ts";
import { RECEIVER_FAULTS } from "./receiver-faults.ts";
import { SERVER_FAULTS } from "./server-faults.ts";

/** Everything that goes wrong. */
export const FAULTS: readonly Fault[] = [
  ...PROCESS_FAULTS,
  ...SERVER_FAULTS,
  ...NETWORK_FAULTS,
  ...RECEIVER_FAULTS,
  {
    kind: "schema changed",
    copies: 2,
    inject: async ({ schema, random }) => {
      await schema.change(random);
    },
  },
];
