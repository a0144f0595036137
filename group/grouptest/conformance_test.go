package grouptest_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/group/grouptest"
	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/partition/partitiontest"
)

// The groups of a store keep the contract.
func TestGroupsOfAStoreConform(t *testing.T) {
	dir := t.TempDir()
	clock := partitiontest.NewClock(time.UnixMilli(1_700_000_000_000))
	disk := partitiontest.NewDisk()
	open := func(t *testing.T) *partition.Store {
		s, err := partition.Open(dir, partition.Config{FS: disk, Clock: clock})
		require.NoError(t, err)
		return s
	}
	s := open(t)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	grouptest.Conformance(t, &grouptest.Subject{Store: s, Clock: clock, Reopen: func(t *testing.T) grouptest.Store {
		require.NoError(t, s.Close())
		s = open(t)
		return s
	}})
}
