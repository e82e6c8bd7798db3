/** Gives another network address each time. */
export function differentAddresses(): () => string {
  let given = 0;
  return () => {
    given += 1;
    return `192.0.${Math.floor(given / 250) % 250}.${given % 250}`;
  };
}
