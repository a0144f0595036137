package replicationtest_test

import (
	"testing"
	"testing/cryptotest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/replication/replicationtest"
)

func reseed(t *testing.T) func(uint64) {
	return func(seed uint64) { cryptotest.SetGlobalRandom(t, seed) }
}

func TestQuietClusterWritesAndReads(t *testing.T) {
	r := replicationtest.Run(replicationtest.Options{Seed: 1, Quiet: true, Trouble: 30 * time.Second, Reseed: reseed(t), Keep: 400})
	if r.Violation != nil {
		t.Log(r.Trace)
	}
	require.Nil(t, r.Violation)
	require.Positive(t, r.Acked)
	t.Log(r.Events, r.Acked, r.Read, r.Seen.String())
}
