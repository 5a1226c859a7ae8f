/** Checks of the systemd service: the unit in force, its state, its command, and its limit of open files. */
import { type Check, type CheckResult, fail, ok, skip, warn } from './check.ts';
import type { Host } from './host.ts';

export const SERVICE = 'nitro-enclaves-vsock-proxy';
const OUR_UNIT = `/usr/local/lib/systemd/system/${SERVICE}.service`;
const COMMAND = '/usr/bin/vsock-proxy';
/** Each connection takes two descriptors, and the process itself takes some. */
const DESCRIPTORS_PER_CONNECTION = 2;
const OWN_DESCRIPTORS = 64;

/** What systemd knows of the service; absent if there is no systemd, or no such unit. */
export interface Unit {
  readonly fragmentPath: string;
  readonly dropIns: string;
  /** `active`, `activating`, `failed`, … */
  readonly activeState: string;
  readonly subState: string;
  readonly statusText: string;
  /** `success`, `exit-code`, `watchdog`, … */
  readonly result: string;
  readonly enabled: string;
  readonly descriptors: number | undefined;
  /** The id of the main process, while it runs. */
  readonly pid?: number;
  /** Its command line. */
  readonly words: readonly string[];
}

const PROPERTIES = [
  'LoadState',
  'FragmentPath',
  'DropInPaths',
  'ActiveState',
  'SubState',
  'StatusText',
  'Result',
  'UnitFileState',
  'LimitNOFILE',
  'MainPID',
];

export async function readUnit(host: Host): Promise<Unit | undefined> {
  const shown = await host.run('systemctl', ['show', `--property=${PROPERTIES.join(',')}`, `${SERVICE}.service`]);
  if (shown === undefined || shown.status !== 0) return undefined;
  const values = new Map(
    shown.stdout.split('\n').map((line) => {
      const at = line.indexOf('=');
      return [line.slice(0, at), line.slice(at + 1)] as const;
    }),
  );
  const value = (name: string) => values.get(name) ?? '';
  if (value('LoadState') !== 'loaded') return undefined;
  const pid = Number(value('MainPID'));
  const limit = Number(value('LimitNOFILE'));
  const words = pid > 0 ? (host.read(`/proc/${pid}/cmdline`) ?? '').split('\0').slice(0, -1) : [];
  return {
    fragmentPath: value('FragmentPath'),
    dropIns: value('DropInPaths'),
    activeState: value('ActiveState'),
    subState: value('SubState'),
    statusText: value('StatusText'),
    result: value('Result'),
    enabled: value('UnitFileState'),
    descriptors: Number.isSafeInteger(limit) && limit > 0 ? limit : undefined,
    ...(pid > 0 && { pid }),
    words,
  };
}

export function serviceChecks(host: Host, unit: Unit | undefined, connections: number | undefined): readonly Check[] {
  return [
    { name: 'unit', run: () => checkUnit(host, unit) },
    { name: 'service', run: () => checkState(unit) },
    { name: 'command', run: () => checkCommand(host) },
    { name: 'descriptors', run: () => checkDescriptors(unit, connections) },
  ];
}

function checkUnit(host: Host, unit: Unit | undefined): CheckResult {
  if (unit === undefined) {
    return host.exists('/run/systemd/system')
      ? warn(`systemd has no unit ${SERVICE}`, `yum install ${SERVICE}`)
      : skip('systemd does not run here');
  }
  const { fragmentPath, dropIns } = unit;
  const also = dropIns === '' ? '' : `, with ${dropIns.split(' ').join(', ')}`;
  if (fragmentPath === OUR_UNIT) return ok(`${fragmentPath} is in force${also}`);
  if (!host.exists(OUR_UNIT)) return ok(`${fragmentPath} is in force${also}; the package ${SERVICE} is not installed`);
  return warn(
    `${fragmentPath} is in force${also}, and goes before that of the package ${SERVICE}`,
    `remove ${fragmentPath}, then systemctl daemon-reload && systemctl restart ${SERVICE}`,
  );
}

function checkState(unit: Unit | undefined): CheckResult {
  if (unit === undefined) return skip('there is no unit');
  const { activeState, subState, statusText, result, enabled } = unit;
  const says = statusText === '' ? '' : `: ${statusText}`;
  const log = `journalctl -u ${SERVICE} -n 20`;
  if (activeState === 'active') {
    if (statusText.startsWith('Reload failed'))
      return fail(`the service runs${says}`, 'vsock-proxy check, then reload');
    return enabled === 'enabled'
      ? ok(`the service runs${says}`)
      : warn(
          `the service runs, and will not after a restart of the machine: it is ${enabled}`,
          `systemctl enable ${SERVICE}`,
        );
  }
  const state = `the service is ${activeState} (${subState}, last result: ${result})`;
  if (activeState === 'activating') return fail(`${state}${says}: it cannot start yet, and its log says why`, log);
  if (activeState === 'failed') return fail(`${state}${says}`, log);
  return warn(`${state}${says}`, `systemctl enable --now ${SERVICE}`);
}

async function checkCommand(host: Host): Promise<CheckResult> {
  if (!host.exists(COMMAND)) return warn(`there is no ${COMMAND}`, `systemd-tmpfiles --create ${SERVICE}.conf`);
  const version = await host.run(COMMAND, ['--version']);
  const says = version?.status === 0 ? version.stdout.split('\n', 1)[0] : 'it does not tell its version';
  const owner = await host.run('rpm', ['-qf', COMMAND]);
  const by = owner?.status === 0 ? `the package ${owner.stdout.trim()}` : 'no package';
  return ok(`${COMMAND} is of ${by}: ${says}`);
}

function checkDescriptors(unit: Unit | undefined, connections: number | undefined): CheckResult {
  if (unit?.descriptors === undefined) return skip('no unit tells the limit of descriptors');
  if (connections === undefined) return skip('no valid configuration tells how many connections there may be');
  const needed = connections * DESCRIPTORS_PER_CONNECTION + OWN_DESCRIPTORS;
  const both = `${unit.descriptors} descriptors (LimitNOFILE) for ${connections} connections (limits.connections)`;
  if (unit.descriptors >= needed) return ok(both);
  return fail(
    `${both}: beyond ${Math.floor((unit.descriptors - OWN_DESCRIPTORS) / DESCRIPTORS_PER_CONNECTION)} clients wait`,
    `systemctl edit ${SERVICE}: [Service] LimitNOFILE=${needed}`,
  );
}
