import type pg from "pg";

/** What is said about a statement: the error, its DETAIL and HINT; or the warnings of one that is taken. */
export async function said(client: pg.Client, sql: string): Promise<readonly string[]> {
  const heard: string[] = [];
  const listen = ({ message, hint }: { message?: string | undefined; hint?: string | undefined }): void => {
    heard.push(message ?? "", ...(hint === undefined ? [] : [`HINT: ${hint}`]));
  };
  client.on("notice", listen);
  await client.query("begin");
  try {
    await client.query(sql);
    return heard;
  } catch (error) {
    const { message, detail, hint } = error as { message: string; detail?: string; hint?: string };
    return [
      message,
      ...(detail === undefined ? [] : [`DETAIL: ${detail}`]),
      ...(hint === undefined ? [] : [`HINT: ${hint}`]),
    ];
  } finally {
    await client.query("rollback");
    client.off("notice", listen);
  }
}
