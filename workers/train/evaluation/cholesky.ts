/**
 * Solves A·X = B for a symmetric positive definite A by Cholesky's decomposition.
 *
 * @param a [n, n] row-major; only the lower triangle is read. Overwritten with the factor L.
 * @param b [n, m] row-major right-hand sides. Overwritten with the solution X.
 * @throws RangeError if A is not positive definite.
 */
export function solvePositiveDefinite(
  a: Float64Array,
  b: Float64Array,
  n: number,
  m: number,
): void {
  for (let j = 0; j < n; j++) {
    for (let i = j; i < n; i++) {
      let sum = a[i * n + j]!;
      for (let k = 0; k < j; k++) sum -= a[i * n + k]! * a[j * n + k]!;
      if (i > j) {
        a[i * n + j] = sum / a[j * n + j]!;
      } else if (sum > 0) {
        a[j * n + j] = Math.sqrt(sum);
      } else {
        throw new RangeError(`the matrix is not positive definite: pivot ${j} is ${sum}`);
      }
    }
  }
  // Forward with L, then backward with its transpose; each right-hand side is a column of b.
  for (let i = 0; i < n; i++) {
    for (let k = 0; k < i; k++) subtractRow(b, i, k, a[i * n + k]!, m);
    divideRow(b, i, a[i * n + i]!, m);
  }
  for (let i = n - 1; i >= 0; i--) {
    for (let k = i + 1; k < n; k++) subtractRow(b, i, k, a[k * n + i]!, m);
    divideRow(b, i, a[i * n + i]!, m);
  }
}

function subtractRow(b: Float64Array, target: number, source: number, by: number, m: number): void {
  for (let c = 0; c < m; c++) {
    b[target * m + c] = b[target * m + c]! - by * b[source * m + c]!;
  }
}

function divideRow(b: Float64Array, target: number, by: number, m: number): void {
  for (let c = 0; c < m; c++) b[target * m + c] = b[target * m + c]! / by;
}
