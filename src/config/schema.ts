/** How many connections may be open at once. */
export const CONNECTIONS = { min: 1, max: 1_000_000, default: 4 } as const;
