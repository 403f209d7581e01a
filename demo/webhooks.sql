-- The demo's webhooks, set up as an administrator of Walhook would: by SQL, as role shop_admin.
-- ${receiver} and ${secret} are filled in by the demo. Runs once.

begin;

-- Four columns suffice for a webhook; here with a signature.
insert into walhook.webhook (name, webhook_doctype, webhook_docevent, request_url, enable_security, webhook_secret)
values
  ('new-order', 'orders', 'after_insert', '${receiver}/orders', true, '${secret}'),
  ('order-lines', 'order_item', 'after_insert, on_trash', '${receiver}/lines', true, '${secret}'),
  ('customer-changed', 'customer', 'on_change', '${receiver}/customers', true, '${secret}'),
  ('shipment', 'shipment', 'after_insert, on_update', '${receiver}/shipments', true, '${secret}'),
  ('audit', 'audit_line', 'after_insert', '${receiver}/audit', true, '${secret}');

-- A condition is a SQL expression: fires when the status becomes Paid, and at no other update.
insert into walhook.webhook
  (name, webhook_doctype, webhook_docevent, condition, request_url, enable_security, webhook_secret)
values
  ('order-paid', 'orders', 'on_update', $$doc.status = 'Paid' and old.status is distinct from doc.status$$,
   '${receiver}/paid', true, '${secret}'),
  ('too-warm', 'measurement', 'after_insert', 'doc.celsius > 8', '${receiver}/alarms', true, '${secret}');

-- Chosen columns, under keys of one's own.
insert into walhook.webhook_data (webhook, fieldname, key) values
  ('order-paid', 'id', 'order'),
  ('order-paid', 'total', 'amount'),
  ('order-paid', 'currency', 'currency');

-- A body from a Mustache template; the invoice's docstatus went from 0 to 1.
insert into walhook.webhook
  (name, webhook_doctype, webhook_docevent, request_url, enable_security, webhook_secret, webhook_json)
values
  ('invoice-submitted', 'invoice', 'on_submit', '${receiver}/invoices', true, '${secret}',
   '{"text": "Invoice {{doc.name}} over {{doc.amount}} is due on {{doc.due_on}}", "order": {{#json}}doc.order_id{{/json}}}');

-- Form-encoded, as older receivers want it; docstatus went from 1 to 2.
insert into walhook.webhook
  (name, webhook_doctype, webhook_docevent, request_url, request_structure, enable_security, webhook_secret)
values
  ('invoice-cancelled', 'invoice', 'on_cancel', '${receiver}/invoices/cancelled', 'Form URL-Encoded', true, '${secret}');
insert into walhook.webhook_data (webhook, fieldname) values
  ('invoice-cancelled', 'name'),
  ('invoice-cancelled', 'amount');

-- A dynamic URL and another method: the shop's search index.
insert into walhook.webhook
  (name, webhook_doctype, webhook_docevent, request_method, request_url, is_dynamic_url, enable_security, webhook_secret)
values
  ('search-index', 'product', 'on_update', 'PUT', '${receiver}/products/{{doc.sku}}', true, true, '${secret}');

-- Headers are templates, too. These tell the demo's receiver what it got.
insert into walhook.webhook_header (webhook, key, value)
select webhook.name, header.key, replace(header.value, '@', webhook.name)
from walhook.webhook
cross join (values
  ('X-Demo-Webhook', '@'),
  ('X-Demo-Event', '{{{event}}}'),
  ('X-Demo-Doctype', '{{{doctype}}}'),
  ('X-Demo-Document', '{{{name}}}'),
  ('X-Demo-Commit-Time', '{{{commit_time}}}')
) as header (key, value);

commit;
