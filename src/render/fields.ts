import { jsonString } from "./json-string.ts";

/** Names and JSON texts of a body's members, in order. */
export type Fields = readonly (readonly [name: string, json: string])[];

/** Fields as a JSON object. */
export function jsonBody(fields: Fields): string {
  let json = "";
  for (const [name, value] of fields) json += `${json === "" ? "{" : ","}${jsonString(name)}:${value}`;
  return json === "" ? "{}" : `${json}}`;
}
