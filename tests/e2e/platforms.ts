/**
 * The kinds of machines that tests run on, as image.sh makes them and machine.ts starts them. Each file of tests says in its
 * head which of these it runs on: `Platforms: bookworm sid`, or `Platforms: all`. docs/platforms.md is made from what they tell.
 */

export interface Platform {
  readonly machine: 'x86_64' | 'aarch64';
  /** Of Debian. */
  readonly suite: 'bookworm' | 'trixie' | 'sid';
  /** The suite that the kernel is from, where that is another one. */
  readonly kernel?: 'bullseye' | 'trixie' | 'sid';
  /** Whether SELinux is in force, by Debian's policy. */
  readonly selinux?: true;
  /** What it stands for. */
  readonly standsFor: string;
}

export const PLATFORMS = {
  bookworm: { machine: 'x86_64', suite: 'bookworm', standsFor: 'Amazon Linux 2023 with its default kernel' },
  'linux-5.10': {
    machine: 'x86_64',
    suite: 'bookworm',
    kernel: 'bullseye',
    standsFor: 'the oldest kernel of parents',
  },
  trixie: { machine: 'x86_64', suite: 'trixie', standsFor: 'Amazon Linux 2023 with kernel 6.12' },
  sid: { machine: 'x86_64', suite: 'sid', standsFor: 'Amazon Linux 2027 with SELinux off' },
  'bookworm-selinux': {
    machine: 'x86_64',
    suite: 'bookworm',
    selinux: true,
    standsFor: 'Amazon Linux 2023 with SELinux enforcing',
  },
  'sid-selinux': { machine: 'x86_64', suite: 'sid', selinux: true, standsFor: 'Amazon Linux 2027 as it is installed' },
  arm64: { machine: 'aarch64', suite: 'bookworm', standsFor: 'Graviton' },
} as const satisfies Record<string, Platform>;

export type PlatformName = keyof typeof PLATFORMS;

/** @throws Error that names those there are */
export function platformOf(name: string): Platform {
  const platforms: Readonly<Record<string, Platform>> = PLATFORMS;
  const platform = Object.hasOwn(platforms, name) ? platforms[name] : undefined;
  if (platform === undefined)
    throw new Error(`there is no platform ${name}. Hint: ${Object.keys(platforms).join(', ')}`);
  return platform;
}
