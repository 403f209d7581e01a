import type { DocEvent } from "../events/doc-event.ts";
import type { Webhook } from "../match/webhook.ts";
import { BodyTooLargeError, checkLength, encodeBody } from "./body-too-large.ts";
import { chosenFields } from "./chosen-fields.ts";
import {
  CLOUDEVENT_TYPE,
  cloudeventAttributes,
  cloudeventHeaders,
  cloudeventJson,
  type CloudeventAttributes,
} from "./cloudevent.ts";
import type { FrozenRequest } from "./delivery.ts";
import { envelope, envelopeData, envelopeFields } from "./envelope.ts";
import { eventContext } from "./event-context.ts";
import { jsonBody } from "./fields.ts";
import { formBody, formOfObject } from "./form.ts";
import { renderHeader, type TemplatedHeader, templatedHeaders } from "./headers.ts";
import { parseJsonTree } from "./json-tree.ts";
import { INSIDE_JSON_STRING, renderTemplate } from "./render-template.ts";
import { Rendering, TemplateTooLongError } from "./rendering.ts";
import { parseTemplate, type Template } from "./template.ts";
import { UnknownValueError } from "./unknown-value.ts";
import { renderUrl } from "./url.ts";

/** The frozen part of a request, or why there is none and what the log calls that. */
export type Rendered =
  | { readonly ok: true; readonly request: FrozenRequest }
  | {
      readonly ok: false;
      readonly outcome: "error" | "undecidable";
      readonly error: string;
      /** What kind of trouble, where there is a word for it: `body_too_large`, `template_too_long`. */
      readonly errorClass: string | null;
    };

/**
 * Renders what is frozen of a webhook's request for an event. Never throws for what users write or rows hold.
 * @param maxBodyBytes a larger body is an error; rendering stops where that is clear
 * @param id the delivery's
 */
export function render(webhook: Webhook, event: DocEvent, maxBodyBytes: number, id: string): Rendered {
  try {
    return { ok: true, request: compiled(webhook)(event, maxBodyBytes, id) };
  } catch (error) {
    const [outcome, errorClass] = classify(error);
    return { ok: false, outcome, errorClass, error: (error as Error).message };
  }
}

/** Throws the error on where nothing that users write or rows hold is to blame. */
function classify(error: unknown): readonly ["error" | "undecidable", string | null] {
  if (error instanceof UnknownValueError) return ["undecidable", null];
  if (error instanceof BodyTooLargeError) return ["error", "body_too_large"];
  if (error instanceof TemplateTooLongError) return ["error", "template_too_long"];
  // Too deep a nesting of JSON ends as a RangeError, and so does a text beyond V8's 512 MiB.
  if (error instanceof SyntaxError || error instanceof URIError || error instanceof RangeError) return ["error", null];
  throw error;
}

/** What is wrong with the templates of a webhook before any event: null where they all parse. */
export function templateProblem(webhook: Webhook): string | null {
  try {
    compile(webhook);
    return null;
  } catch (error) {
    return (error as Error).message;
  }
}

type Renderer = (event: DocEvent, maxBodyBytes: number, id: string) => FrozenRequest;

const renderers = new WeakMap<Webhook, Renderer>();

function compiled(webhook: Webhook): Renderer {
  let renderer = renderers.get(webhook);
  if (renderer === undefined) {
    renderer = compile(webhook);
    renderers.set(webhook, renderer);
  }
  return renderer;
}

function compile(webhook: Webhook): Renderer {
  const { method } = webhook;
  const body = bodyOf(webhook);
  const url = webhook.isDynamicUrl ? parsed("request_url", webhook.requestUrl) : null;
  const headers = templatedHeaders(webhook.headers);
  const contentType = contentTypeOf(webhook, headers);
  const others = headers.filter((header) => header !== contentType);
  const plain = (event: DocEvent, maxBodyBytes: number, rendering: Rendering): FrozenRequest => ({
    method,
    url: url === null ? null : renderUrl(url, eventContext(event), rendering),
    contentType:
      typeof contentType === "string" ? contentType : renderHeader(contentType, eventContext(event), rendering),
    headers: others.length === 0 ? [] : renderHeaders(others, event, rendering),
    body: encodeBody(body(event, maxBodyBytes, rendering), maxBodyBytes),
  });
  switch (webhook.payloadFormat) {
    case "plain":
      return (event, maxBodyBytes) => plain(event, maxBodyBytes, new Rendering());
    case "cloudevents-binary":
      return (event, maxBodyBytes, id) => {
        const request = plain(event, maxBodyBytes, new Rendering());
        return { ...request, headers: [...request.headers, ...cloudeventHeaders(attributesOf(webhook, event, id))] };
      };
    case "cloudevents-structured":
      return (event, maxBodyBytes, id) => {
        const rendering = new Rendering();
        const data = body(event, maxBodyBytes, rendering);
        return {
          method,
          url: url === null ? null : renderUrl(url, eventContext(event), rendering),
          contentType: CLOUDEVENT_TYPE,
          headers: others.length === 0 ? [] : renderHeaders(others, event, rendering),
          body: encodeBody(cloudeventJson(attributesOf(webhook, event, id), data), maxBodyBytes),
        };
      };
    default:
      return webhook.payloadFormat satisfies never;
  }
}

function attributesOf({ cloudeventsSource }: Webhook, event: DocEvent, id: string): CloudeventAttributes {
  return cloudeventAttributes(event, id, cloudeventsSource);
}

/** A header row `Content-Type` of the user's, static or templated, stands instead of the default. */
function contentTypeOf(webhook: Webhook, templated: readonly TemplatedHeader[]): string | TemplatedHeader {
  const own = webhook.headers.findLast((header) => isContentType(header) && header.value !== "");
  if (own === undefined) {
    return webhook.structure === "JSON" ? "application/json" : "application/x-www-form-urlencoded";
  }
  return templated.findLast((header) => isContentType(header)) ?? own.value;
}

function isContentType({ key }: { readonly key: string }): boolean {
  return key.toLowerCase() === "content-type";
}

/** A header that renders to nothing is left out, as Frappe leaves out a row without a value. */
function renderHeaders(headers: readonly TemplatedHeader[], event: DocEvent, rendering: Rendering): [string, string][] {
  return headers
    .map((header): [string, string] => [header.key, renderHeader(header, eventContext(event), rendering)])
    .filter(([, value]) => value !== "");
}

/**
 * `webhook_data` comes before `webhook_json`, as in Frappe; a webhook with neither sends the envelope, of which a
 * CloudEvent has the rest in its attributes.
 */
function bodyOf(webhook: Webhook): (event: DocEvent, maxBytes: number, rendering: Rendering) => string {
  const isForm = webhook.structure === "Form URL-Encoded";
  const { data } = webhook;
  if (data.length > 0) {
    const write = isForm ? formBody : jsonBody;
    return (event, maxBytes) => write(chosenFields(data, event, maxBytes));
  }
  if (webhook.template !== null && webhook.template.trim() !== "") {
    const template = parsed("webhook_json", webhook.template);
    return (event, maxBytes, rendering) => templateBody(template, event, isForm, maxBytes, rendering);
  }
  if (webhook.payloadFormat !== "plain") return envelopeData;
  return isForm ? (event) => formBody(envelopeFields(event)) : envelope;
}

function templateBody(
  template: Template,
  event: DocEvent,
  isForm: boolean,
  maxLength: number,
  rendering: Rendering,
): string {
  const writing = { ...INSIDE_JSON_STRING, check: (part: string) => checkLength(part, maxLength) };
  const text = renderTemplate(template, eventContext(event), writing, rendering);
  try {
    if (isForm) return formOfObject(text);
    JSON.parse(text);
    return text;
  } catch (error) {
    throw new SyntaxError(`webhook_json: the rendered text is not JSON: ${jsonProblem(text, error)}`, { cause: error });
  }
}

/** JSON.parse quotes the text in its messages and does not always say where; ours does neither wrong. */
function jsonProblem(text: string, error: unknown): string {
  try {
    parseJsonTree(text);
  } catch (own) {
    return (own as Error).message;
  }
  return (error as Error).message;
}

function parsed(what: string, text: string): Template {
  try {
    return parseTemplate(text);
  } catch (error) {
    throw new SyntaxError(`${what}: ${(error as Error).message}`, { cause: error });
  }
}
