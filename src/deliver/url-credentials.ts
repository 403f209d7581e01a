/**
 * A URL's user and password as a header, and the URL without them.
 * @throws TypeError for no URL, URIError for percent-encoding that is none
 */
export function splitCredentials(text: string): { readonly url: string; readonly authorization: string | null } {
  if (!text.includes("@")) return { url: text, authorization: null };
  const url = new URL(text);
  if (url.username === "" && url.password === "") return { url: text, authorization: null };
  const pair = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`;
  url.username = "";
  url.password = "";
  return { url: url.toString(), authorization: `Basic ${Buffer.from(pair).toString("base64")}` };
}
