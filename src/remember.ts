/**
 * The same function, which remembers its last argument and what it gave: what one row of a batch has, the next one
 * mostly has, too. Arguments are compared by `===`, and must not change.
 */
export function remember<T, R>(compute: (value: T) => R): (value: T) => R {
  let last: { readonly value: T; readonly result: R } | null = null;
  return (value) => {
    if (last === null || last.value !== value) last = { value, result: compute(value) };
    return last.result;
  };
}
