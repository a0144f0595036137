package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTableIsRestoredFromACompactedTopicAlsoByTheNextRun(t *testing.T) {
	dir := t.TempDir()
	var first, second bytes.Buffer
	require.NoError(t, run(t.Context(), dir, &first))
	require.Contains(t, first.String(), "restored 0 products from 0 records")
	require.Contains(t, first.String(), "restored 499 products from 500 records", "one of each key, and a tombstone")
	require.Contains(t, first.String(), "499 products, product-000 there: false, product-007: 39507 pieces on shelf 6")
	require.NoError(t, run(t.Context(), dir, &second))
	require.NotContains(t, second.String(), "restored 0 products")
}
