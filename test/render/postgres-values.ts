import fc, { type Arbitrary } from "fast-check";

/** Texts that trip up quoting, escaping and arrays, and any other Unicode that Postgres can store. */
export const anyText: Arbitrary<string> = fc.oneof(
  fc.string({ unit: "binary", maxLength: 30 }).map((text) => text.replaceAll("\0", "")),
  fc.string({ unit: "grapheme-ascii", maxLength: 12 }),
  fc.constantFrom(
    "",
    " ",
    "NULL",
    "null",
    '"',
    "\\",
    '\\"',
    "{}",
    "{a,b}",
    "(a,b)",
    "a,b;c",
    "\u2028\u2029",
    "\u0001\u001f\u007f\u0085",
    "tab\tline\nreturn\r",
    "😀 e\u0301 \ufeff",
    "</script>",
  ),
);

const digits = (max: number): Arbitrary<string> =>
  fc.string({ unit: fc.constantFrom(...Array.from("0123456789")), maxLength: max });

const numeric = fc.oneof(
  fc.tuple(fc.constantFrom("", "-"), digits(30), digits(30)).map(([sign, whole, part]) => `${sign}0${whole}.${part}0`),
  fc
    .tuple(fc.constantFrom("", "-"), digits(1000), digits(1000))
    .map(([sign, whole, part]) => `${sign}1${whole}.${part}`),
  fc.constantFrom("NaN", "Infinity", "-Infinity", "0", "-0", "0.000", "1e100", "1e-100", "9007199254740993"),
);

const pad = (value: number, width = 2): string => String(value).padStart(width, "0");

/** A date between two years; years from 0 down are BC. */
const dateBetween = (first: number, last: number): Arbitrary<{ date: string; era: string }> =>
  fc
    .tuple(
      fc.oneof(
        fc.integer({ min: 1, max: 3000 }),
        fc.integer({ min: first, max: last }),
        fc.constantFrom(first, 0, last),
      ),
      fc.integer({ min: 1, max: 12 }),
      fc.integer({ min: 1, max: 28 }),
    )
    .map(([year, month, day]) => ({
      date: `${pad(year > 0 ? year : 1 - year, 4)}-${pad(month)}-${pad(day)}`,
      era: year > 0 ? "" : " BC",
    }));

const time = fc
  .tuple(
    fc.integer({ min: 0, max: 23 }),
    fc.integer({ min: 0, max: 59 }),
    fc.integer({ min: 0, max: 59 }),
    fc.oneof(fc.constantFrom(0, 1, 100_000, 999_999), fc.integer({ min: 0, max: 999_999 })),
  )
  .map(([hour, minute, second, micros]) => `${pad(hour)}:${pad(minute)}:${pad(second)}.${pad(micros, 6)}`);

const zone = fc.constantFrom("+00", "-08", "+05:30", "+14", "-12:45");

const timestamp = (suffix: Arbitrary<string>): Arbitrary<string> =>
  fc.oneof(
    fc
      .tuple(dateBetween(-4711, 294_275), time, suffix)
      .map(([{ date, era }, clock, end]) => `${date} ${clock}${end}${era}`),
    fc.constantFrom("infinity", "-infinity", "epoch", "4714-11-24 00:00:00+00 BC", "294276-12-31 23:59:59.999999+00"),
  );

const interval = fc
  .tuple(
    fc.integer({ min: -9999, max: 9999 }),
    fc.integer({ min: -11, max: 11 }),
    fc.integer({ min: -9e6, max: 9e6 }),
    time,
  )
  .map(([years, months, days, clock]) => `${years} years ${months} mons ${days} days ${clock}`);

const bits = fc.string({ unit: fc.constantFrom("0", "1"), minLength: 1, maxLength: 70 });
const hex = (bytes: number): Arbitrary<string> =>
  fc.uint8Array({ minLength: bytes, maxLength: bytes }).map((array) => Buffer.from(array).toString("hex"));
const float = fc.double().map(String);
const point = fc.tuple(fc.double(), fc.double()).map(([x, y]) => `(${x},${y})`);
const finitePoint = fc.tuple(fc.integer(), fc.integer()).map(([x, y]) => `(${x}.5,${y})`);
const points = fc.array(finitePoint, { minLength: 1, maxLength: 4 });
const mac = (bytes: number): Arbitrary<string> => hex(bytes).map((text) => text.replaceAll(/(..)(?!$)/g, "$1:"));

const json = fc.oneof(
  fc.json({ stringUnit: "grapheme" }).filter((text) => !text.includes("\\u0000")),
  anyText.map((text) => JSON.stringify(text)),
  fc.constantFrom(
    "null",
    '"NULL"',
    "123456789012345678901234567890.1234567890",
    "1e400",
    "-0.0",
    '{"a": 1, "a": 2, "__proto__": {"b": [1.10, "\\u00e9"]}}',
    ' [ 1 ,\n\t{ "x" : null } ] ',
  ),
);

const ipv4 = fc.tuple(fc.ipV4(), fc.integer({ min: 0, max: 32 })).map(([address, mask]) => `${address}/${mask}`);
const ipv6 = fc.tuple(fc.ipV6(), fc.integer({ min: 0, max: 128 })).map(([address, mask]) => `${address}/${mask}`);

const range = (element: Arbitrary<string>, compare: (a: string, b: string) => number): Arbitrary<string> =>
  fc.oneof(
    fc.constantFrom("empty", "(,)"),
    fc.tuple(element, element, fc.constantFrom("[", "("), fc.constantFrom("]", ")")).map(([a, b, open, close]) => {
      const [from, to] = compare(a, b) <= 0 ? [a, b] : [b, a];
      return `${open}"${from}","${to}"${close}`;
    }),
    element.map((from) => `["${from}",)`),
  );
const byNumber = (a: string, b: string): number => Number(a) - Number(b);
const byText = (a: string, b: string): number => (a < b ? -1 : 1);
const plainDate = dateBetween(1000, 9999).map(({ date }) => date);
const plainTimestamp = fc.tuple(plainDate, time).map(([date, clock]) => `${date} ${clock}`);
const small = fc.integer({ min: -1000, max: 1000 }).map(String);
const ranges: Readonly<Record<string, Arbitrary<string>>> = {
  int4range: range(small, byNumber),
  int8range: range(small, byNumber),
  numrange: range(small, byNumber),
  daterange: range(plainDate, byText),
  tsrange: range(plainTimestamp, byText),
  tstzrange: range(
    plainTimestamp.map((text) => `${text}+00`),
    byText,
  ),
};
const multiranges = Object.fromEntries(
  Object.entries(ranges).map(([name, one]) => [
    name.replace("range", "multirange"),
    fc.array(one, { maxLength: 3 }).map((parts) => `{${parts.join(",")}}`),
  ]),
);

const oid = fc.constantFrom("0", "1", "4294967295", "2147483648");

/** Input texts for every built-in type that a column can have, by the type's name. */
export const BUILT_IN_VALUES: Readonly<Record<string, Arbitrary<string>>> = {
  bool: fc.constantFrom("t", "f"),
  int2: fc.integer({ min: -32_768, max: 32_767 }).map(String),
  int4: fc.integer().map(String),
  int8: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(String),
  float4: fc.float().map(String),
  float8: float,
  numeric,
  money: fc.bigInt({ min: -(2n ** 63n) / 100n, max: 2n ** 63n / 100n }).map((cents) => `${cents}.07`),
  text: anyText,
  varchar: anyText,
  bpchar: anyText,
  name: fc.string({ unit: "grapheme-ascii", maxLength: 60 }),
  char: fc.constantFrom("a", "é", '"', "\\", "\t", ""),
  bytea: fc.uint8Array().map((bytes) => `\\x${Buffer.from(bytes).toString("hex")}`),
  uuid: fc.uuid(),
  date: fc.oneof(
    dateBetween(-4711, 5_874_896).map(({ date, era }) => date + era),
    fc.constantFrom("infinity", "-infinity", "5874897-12-31", "4714-11-24 BC"),
  ),
  time: fc.oneof(time, fc.constant("24:00:00")),
  timetz: fc.tuple(time, zone).map(([clock, offset]) => clock + offset),
  timestamp: timestamp(fc.constant("")),
  timestamptz: timestamp(zone),
  interval,
  json,
  jsonb: json,
  jsonpath: fc.constantFrom("$", "$.a[*] ? (@.b > 1)", 'strict $."a\\"b"', "$.keyvalue()"),
  xml: fc.constantFrom("<a>x</a>", '<a b="1">é&amp;</a>', "text <b/> and more"),
  inet: fc.oneof(ipv4, ipv6, fc.ipV4()),
  cidr: fc.oneof(fc.ipV4(), fc.ipV6(), fc.constantFrom("10.0.0.0/8", "::/0")),
  macaddr: mac(6),
  macaddr8: mac(8),
  bit: bits.map((text) => text.slice(0, 1)),
  varbit: bits,
  point,
  line: fc.constantFrom("{1,2,3}", "{-1.5,0,1e20}", "[(0,0),(1,1)]"),
  lseg: fc.tuple(finitePoint, finitePoint).map(([a, b]) => `[${a},${b}]`),
  box: fc.tuple(finitePoint, finitePoint).map(([a, b]) => `${a},${b}`),
  path: points.map((all) => `[${all.join(",")}]`),
  polygon: points.map((all) => `(${all.join(",")})`),
  circle: finitePoint.map((center) => `<${center},1.25>`),
  tsvector: fc.constantFrom("", "'a':1A 'it''s':2,3B", "'back\\\\slash' 'sp ace'", "fat cat"),
  tsquery: fc.constantFrom("", "a & !b | (c <-> d:*A)", "'it''s'"),
  oid,
  xid: oid,
  cid: oid,
  xid8: fc.constantFrom("0", "18446744073709551615"),
  tid: fc.constantFrom("(0,1)", "(4294967295,65535)"),
  pg_lsn: fc.constantFrom("0/0", "16/B374D848", "FFFFFFFF/FFFFFFFF"),
  pg_snapshot: fc.constantFrom("1:1:", "10:20:10,14,15"),
  txid_snapshot: fc.constantFrom("1:1:", "10:20:10,14,15"),
  regclass: fc.constantFrom("pg_class", "information_schema.tables"),
  regtype: fc.constantFrom("int4", "timestamp with time zone", "text[]", "-"),
  regproc: fc.constantFrom("now", "-"),
  regprocedure: fc.constantFrom("abs(integer)", "-"),
  regoper: fc.constantFrom("||/", "0"),
  regoperator: fc.constantFrom("+(integer,integer)", "0"),
  regrole: fc.constantFrom("postgres", "-"),
  regnamespace: fc.constantFrom("pg_catalog", "public", "-"),
  regcollation: fc.constantFrom('"C"', "-"),
  regconfig: fc.constantFrom("english", "simple"),
  regdictionary: fc.constantFrom("simple"),
  regdatabase: fc.constantFrom("postgres", "-"),
  refcursor: anyText,
  aclitem: fc.constantFrom("postgres=arwd/postgres", "=r*/postgres"),
  int2vector: fc.array(fc.integer({ min: -32_768, max: 32_767 })).map((all) => all.join(" ")),
  oidvector: fc.array(oid).map((all) => all.join(" ")),
  ...ranges,
  ...multiranges,
};

/** An array literal over elements' texts, everything quoted. */
export function arrayLiteral(elements: readonly (string | null)[], delimiter = ","): string {
  return `{${elements.map((text) => (text === null ? "NULL" : quoted(text))).join(delimiter)}}`;
}

/** A composite literal over attributes' texts, everything quoted. */
export function compositeLiteral(attributes: readonly (string | null)[]): string {
  return `(${attributes.map((text) => (text === null ? "" : quoted(text))).join(",")})`;
}

function quoted(text: string): string {
  return `"${text.replaceAll(/["\\]/g, "\\$&")}"`;
}
