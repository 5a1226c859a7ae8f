/** The control socket that a command uses. */
import type { Command } from 'commander';
import { parseTextOption } from './text.ts';

export interface ControlOption {
  readonly control?: string;
}

/** The control socket of the service of the package. */
const SERVICE_SOCKET = '/run/nitro-enclaves-vsock-proxy/control.sock';

/** Adds `--control`. */
export function withControl(command: Command): Command {
  return command.option(
    '--control <path>',
    `the control socket of the proxy (default: $VSOCK_PROXY_CONTROL, or ${SERVICE_SOCKET})`,
  );
}

/**
 * The path: of the option, the environment, or the service.
 * @throws VsockProxyError `usage`
 */
export function controlPath({ control }: ControlOption, env: Readonly<Record<string, string | undefined>>): string {
  if (control !== undefined) return parseTextOption('--control', control);
  return env.VSOCK_PROXY_CONTROL || SERVICE_SOCKET;
}
