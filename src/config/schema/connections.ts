/**
 * How many connections may be open at once. It is not part of the schema, because the command line needs it, too, and
 * prints its help without loading the schema.
 */
export const CONNECTIONS = {
  min: 1,
  max: 1_000_000,
  /** The default of the drop-in form, as AWS's proxy documents it. */
  proxyDefault: 4,
  /**
   * The default of a listener in the file: enough for a proxy for several services, and far below the limits of a
   * process.
   */
  listenerDefault: 1000,
} as const;
