const HEAD_END = Buffer.from("\r\n\r\n");

/** Where the first request in `data` ends, by its Content-Length; 0 where it is not whole. */
export function requestEnd(data: Buffer): number {
  const headEnd = data.indexOf(HEAD_END);
  if (headEnd < 0) return 0;
  const head = data.toString("latin1", 0, headEnd);
  const length = Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1] ?? 0);
  const end = headEnd + HEAD_END.length + length;
  return end <= data.length ? end : 0;
}
