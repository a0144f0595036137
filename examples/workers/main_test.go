package main

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEveryOrderIsChargedInOrderOrBuried(t *testing.T) {
	cents := 0
	for i := range 2000 {
		if i%100 != 42 && i%100 != 77 {
			cents += 100 + i%7
		}
	}
	for _, workers := range []int{1, 8} {
		var out bytes.Buffer
		require.NoError(t, run(t.Context(), options{orders: 2000, customers: 20, workers: workers}, &out))
		require.Contains(t, out.String(), fmt.Sprintf(`1960 orders of 20 customers charged, %d cents in all, 0 out of order
200 errors, 20 orders that were no orders, 60 panics, 240 retries
40 dead letters:
`, cents))
		require.Contains(t, out.String(), "  poison of customer-2, attempt 1: decode value of orders-")
		require.Contains(t, out.String(), `"cents":-1} of customer-17, attempt 3: handler panicked: a negative amount`)
	}
}

func TestNoOrdersAreNoError(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), options{customers: 1, workers: 1}, &out))
	require.Equal(t, "0 orders of 0 customers charged, 0 cents in all, 0 out of order\n0 errors, 0 orders that were no orders, 0 panics, 0 retries\n0 dead letters:\n", out.String())
}
