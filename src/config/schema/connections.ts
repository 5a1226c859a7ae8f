/**
 * How many connections may be open at once. Apart from the schema, because the command line needs it too, and need not
 * load the schema's library to print its help.
 */
export const CONNECTIONS = {
  min: 1,
  max: 1_000_000,
  /** Of the form of the AWS proxy, which documents it so. */
  proxyDefault: 4,
  /** Of a listener of the file: as many as a proxy for several services needs, and far from the limits of a process. */
  listenerDefault: 1000,
} as const;
