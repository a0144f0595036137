package kafka

import (
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/vfs"
	"github.com/partlog/partlog/partition"
)

// newFaulty is a rig over files that can be made to fail.
func newFaulty(t *testing.T) (*rig, *vfs.Fault) {
	onOneStore(t, "a node whose store fails is replaced by others (package replication)")
	t.Helper()
	k := clock.NewManual(rigStart)
	fault := vfs.NewFault(vfs.NewMem())
	store, err := partition.Open("/store", partition.Config{Clock: k, FS: fault})
	require.NoError(t, err)
	t.Cleanup(func() { store.Close() }) // it says what failed
	s, err := New(store, Config{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	_, err = s.AddBroker(BrokerConfig{Listeners: []ListenerConfig{{Listener: listen(t)}}})
	require.NoError(t, err)
	return &rig{&ground{t: t, store: store, backend: store, server: s}, k}, fault
}

// A partition whose disk fails answers KAFKA_STORAGE_ERROR from then on (clients of version 3 know NOT_LEADER_OR_FOLLOWER),
// what was acknowledged can be read, and other partitions go on.
func TestAFailedSyncIsAStorageErrorOfItsPartition(t *testing.T) {
	r, fault := newFaulty(t)
	r.topic("orders", partition.TopicConfig{Partitions: 2})
	send := func(v int16, p int32, acks int16) int16 {
		return r.produced(r.session(1), v, produceOf("orders", p, acks, records(batch.Options{}, "a"))).ErrorCode
	}
	require.Zero(t, send(9, 0, -1))
	require.Zero(t, send(9, 1, -1))
	fault.Add(vfs.Rule{Op: vfs.OpSync, Path: "/store/data/orders-0/*"})
	for _, v := range versionsOf(keyProduce) {
		want := codeKafkaStorageError
		if v <= 3 {
			want = codeNotLeaderOrFollower
		}
		require.Equal(t, want, send(v, 0, -1), "version %d", v)
		require.Equal(t, want, send(v, 0, 1))
		require.Zero(t, send(v, 1, -1))
	}
	for _, v := range versionsOf(keyFetch) {
		_, ps := r.fetched(r.session(1), v, r.fetchOf(0, tpOf("orders", 0)))
		require.Equal(t, []int64{0, 1}, []int64{int64(ps[0].ErrorCode), ps[0].HighWatermark})
		require.NotEmpty(t, ps[0].RecordBatches)
	}
}

// A full disk is a storage error while it lasts.
func TestAFullDiskIsAStorageErrorUntilThereIsSpace(t *testing.T) {
	r, fault := newFaulty(t)
	r.topic("orders", partition.TopicConfig{})
	send := func() int16 {
		return r.produced(r.session(1), 9, produceOf("orders", 0, -1, records(batch.Options{}, "a"))).ErrorCode
	}
	require.Zero(t, send())
	full := fault.Add(vfs.Rule{Op: vfs.OpWrite, Path: "/store/data/orders-0/*", Err: syscall.ENOSPC, Forever: true})
	require.Equal(t, codeKafkaStorageError, send())
	full.Lift()
	require.Zero(t, send())
}

// What cannot be read is CORRUPT_MESSAGE, not a closed connection.
func TestErrorsHaveTheirCodes(t *testing.T) {
	for _, c := range []struct {
		err     error
		key     int16
		version int16
		want    int16
	}{
		{nil, 0, 9, codeNone},
		{syscall.EIO, 0, 9, codeKafkaStorageError},
		{syscall.EIO, 0, 3, codeNotLeaderOrFollower},
		{syscall.EIO, 1, 5, codeNotLeaderOrFollower},
		{syscall.EIO, 1, 6, codeKafkaStorageError},
		{errNoAnswer, 1, 6, codeUnknownServerError},
		{partition.ErrRecordListTooLarge, 0, 9, codeRecordListTooLarge},
		{partition.ErrMessageTooLarge, 0, 9, codeMessageTooLarge},
		{partition.ErrProducerFenced, 0, 13, codeInvalidProducerEpoch},
		{partition.ErrProducerFenced, 22, 3, codeInvalidProducerEpoch},
		{partition.ErrProducerFenced, 22, 4, codeProducerFenced},
		{partition.ErrProducerFenced, 26, 1, codeInvalidProducerEpoch},
		{partition.ErrProducerFenced, 26, 2, codeProducerFenced},
		{partition.ErrTransactionAbortable, 0, 10, codeInvalidTxnState},
		{partition.ErrTransactionAbortable, 0, 11, codeTransactionAbortable},
		{partition.ErrNotLeaderOrFollower, 0, 9, codeNotLeaderOrFollower},
		{partition.ErrNotEnoughReplicas, 0, 9, codeNotEnoughReplicas},
		{partition.ErrNotEnoughReplicasAfterAppend, 0, 9, codeNotEnoughReplicasAfterAppend},
		{partition.ErrOffsetNotAvailable, 1, 13, codeOffsetNotAvailable},
		{partition.ErrInvalidReplicationFactor, 19, 5, codeInvalidReplicationFactor},
		{&protocolError{77, "x"}, 3, 0, 77},
	} {
		require.Equal(t, c.want, errorCode(c.err, c.key, c.version), "%v in version %d of %d", c.err, c.version, c.key)
	}
	require.Nil(t, errorMessage(nil))
	require.Equal(t, "x", *errorMessage(&protocolError{77, "x"}))
}
