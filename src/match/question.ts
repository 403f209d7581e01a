/** One webhook's condition, asked about some rows: for each an array literal (`rowLiteral`) of `condition_columns`. */
export interface Question {
  readonly webhookId: number;
  /** Name of the function in schema `walhook_condition`. */
  readonly functionName: string;
  readonly doc: readonly (string | null)[];
  /** NULL where there is no row before, or the condition does not read it. */
  readonly old: readonly (string | null)[];
  readonly event: readonly string[];
}

/** What is known of one row. */
export type Verdict =
  | { readonly kind: "true" }
  /** FALSE; of a function that an earlier version made, FALSE or NULL. */
  | { readonly kind: "false" }
  /** NULL: the expression is unknown, which does not fire. */
  | { readonly kind: "null" }
  /** The expression raised an error for this row: it never will say anything else of it. */
  | { readonly kind: "error"; readonly message: string }
  | { readonly kind: "timeout" }
  /** The expression does not work now (a column was dropped, a right was lost, memory ran out): until that is mended. */
  | { readonly kind: "undecided"; readonly message: string };
