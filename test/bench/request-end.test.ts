import { describe, expect, it } from "vitest";
import { requestEnd } from "../../bench/request-end.ts";

describe("requestEnd", () => {
  it("is where the body of the first request ends, by its Content-Length in any spelling", () => {
    const first = "POST / HTTP/1.1\r\ncontent-LENGTH: 4\r\nHost: a\r\n\r\nabcd";
    expect(requestEnd(Buffer.from(`${first}POST / HTTP/1.1\r\n\r\n`))).toBe(first.length);
  });

  it("is where the head ends of a request without a body", () => {
    const request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    expect(requestEnd(Buffer.from(request))).toBe(request.length);
  });

  it("is 0 while the head or the body is not whole", () => {
    expect(requestEnd(Buffer.from("POST / HTTP/1.1\r\nContent-Length: 4\r\n"))).toBe(0);
    expect(requestEnd(Buffer.from("POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nabc"))).toBe(0);
  });
});
