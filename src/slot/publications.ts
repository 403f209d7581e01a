/**
 * The two publications of Walhook, as the slot reads them: inserts and truncates of every watched table, and
 * all changes of the tables where a webhook needs more and the replica identity allows it.
 */
export const PUBLICATIONS = ["walhook_insert", "walhook_all"] as const;
