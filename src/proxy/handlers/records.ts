/** Handles requests of enclaves to the HTTP proxy of their parent for DNS records. */
import { parseHostname } from '../../access/address.ts';
import { findRecordDenial } from '../../access/records.ts';
import { type Client, nameAllowlist, type Policy } from '../../access/rules.ts';
import {
  formatRecordReply,
  parseRecordRequest,
  type RecordReply,
  type RecordRequest,
} from '../../dns/record-exchange.ts';
import type { RecordLookUp } from '../../dns/records.ts';
import { quotaKeyOf } from './authorizer.ts';
import type { Handled, Handler } from './dispatcher.ts';
import { clientOf } from './fixed.ts';

export interface RecordHandlerOptions {
  readonly policy: Policy;
  readonly lookUp: RecordLookUp;
}

/** @param handler handles all other requests */
export function withRecords(handler: Handler, options: RecordHandlerOptions): Handler {
  return {
    ...handler,
    first(decisionRequest) {
      const request = decisionRequest.kind === 'head' ? parseRecordRequest(decisionRequest.bytes) : undefined;
      return request === undefined
        ? handler.first(decisionRequest)
        : answer(request, clientOf(decisionRequest.client), options);
    },
  };
}

async function answer(
  request: RecordRequest,
  client: Client,
  { policy, lookUp }: RecordHandlerOptions,
): Promise<Handled> {
  const name = parseHostname(request.name);
  if (typeof name !== 'string') return refuse(request, name.problem);
  const denial = findRecordDenial(policy, name, client);
  if (denial === 'unlisted') return refuse(request, `no entry of ${nameAllowlist(policy)} matches ${name}`);
  if (denial !== undefined) return refuse(request, `${name} is denied by ${denial.text} (${denial.place})`);
  return reply(await lookUp(name, request.type, quotaKeyOf(client)));
}

function reply(outcome: RecordReply): Handled {
  return { decision: { action: 'reject', reason: 'finished', toClient: formatRecordReply(outcome) } };
}

/** The client gets no place in the file. */
function refuse({ name, type }: RecordRequest, problem: string): Handled {
  const toClient = formatRecordReply({ denied: `${name} is not allowed by the policy of this proxy` });
  const refusal = { problem: `it asked for ${type} records: ${problem}`, subject: name };
  return { decision: { action: 'reject', reason: 'denied', toClient }, refusal };
}
