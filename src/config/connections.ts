/**
 * How many connections may be open at once. Apart from the schema, because the command line needs it too, and need not
 * load the schema's library to print its help.
 */
export const CONNECTIONS = { min: 1, max: 1_000_000, default: 4 } as const;
