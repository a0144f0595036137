package replication

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/log"
	"github.com/partlog/partlog/partition"
)

// carried is an error after its way to another node.
func carried(t *testing.T, err error) error {
	t.Helper()
	b, e := json.Marshal(toWire(err))
	require.NoError(t, e)
	var w *wireError
	require.NoError(t, json.Unmarshal(b, &w))
	return w.err()
}

func TestSentinelsKeepTheirIdentityBetweenNodes(t *testing.T) {
	for code, sentinel := range sentinels {
		got := carried(t, fmt.Errorf("operation: %w", sentinel))
		if code == 1 || code == 130 || code == 131 {
			require.NotErrorIs(t, got, sentinel, "neither the caller's node nor its context has ended")
			require.ErrorIs(t, got, ErrNodeNotAvailable)
			continue
		}
		require.ErrorIs(t, got, sentinel)
		require.Equal(t, partition.Retriable(sentinel), partition.Retriable(got), "%v", sentinel)
		require.Equal(t, "operation: "+sentinel.Error(), got.Error())
	}
	require.NoError(t, carried(t, nil))
	require.ErrorIs(t, carried(t, fmt.Errorf("%w: %w", group.ErrIllegalGeneration, group.ErrGroupIDNotFound)), group.ErrGroupIDNotFound, "both of two")
}

func TestErrorsKeepTheirDataBetweenNodes(t *testing.T) {
	tp := partition.TopicPartition{Topic: "t", Partition: 3}
	corrupt := &log.CorruptionError{Path: "p", Position: 5, Offset: 6, NextOffset: 7, Err: errors.New("bad sum")}
	got, ok := errors.AsType[*log.CorruptionError](carried(t, fmt.Errorf("fetch: %w", corrupt)))
	require.True(t, ok)
	require.Equal(t, corrupt, got)

	commit := &group.CommitError{Partitions: map[partition.TopicPartition]error{tp: group.ErrOffsetMetadataTooLarge}}
	c, ok := errors.AsType[*group.CommitError](carried(t, commit))
	require.True(t, ok)
	require.ErrorIs(t, c.Partitions[tp], group.ErrOffsetMetadataTooLarge)

	offsets := &group.OffsetsError{Partitions: map[partition.TopicPartition]error{tp: group.ErrUnstableOffsetCommit}}
	o, ok := errors.AsType[*group.OffsetsError](carried(t, offsets))
	require.True(t, ok)
	require.ErrorIs(t, o.Partitions[tp], group.ErrUnstableOffsetCommit)

	leave := &group.LeaveError{Members: []error{nil, group.ErrUnknownMemberID}}
	l, ok := errors.AsType[*group.LeaveError](carried(t, leave))
	require.True(t, ok)
	require.Len(t, l.Members, 2)
	require.NoError(t, l.Members[0])
	require.ErrorIs(t, l.Members[1], group.ErrUnknownMemberID)

	groups := &group.DeleteGroupsError{Groups: map[string]error{"g": group.ErrGroupNotEmpty}}
	g, ok := errors.AsType[*group.DeleteGroupsError](carried(t, groups))
	require.True(t, ok)
	require.ErrorIs(t, g.Groups["g"], group.ErrGroupNotEmpty)

	for _, err := range []error{
		&log.OffsetOutOfRangeError{Offset: 1, Start: 2, End: 3}, &log.SequenceError{ProducerID: 1, Epoch: 2, Got: 3, Want: 4},
		&log.ProducerEpochError{ProducerID: 1, Epoch: 2, Last: 3}, &log.TxnStateError{ProducerID: 1, Epoch: 2, Open: true, Start: 9},
		&partition.ConfigError{Key: "k", Value: "v", Range: "r"}, &partition.VersionConflictError{TopicPartition: tp, Key: []byte("k"), Expected: 1, Actual: 2},
	} {
		got := carried(t, fmt.Errorf("x: %w", err))
		found := false
		for _, e := range got.(interface{ Unwrap() []error }).Unwrap() {
			found = found || fmt.Sprintf("%#v", e) == fmt.Sprintf("%#v", err)
		}
		require.True(t, found, "%T", err)
	}
}

func TestAnErrorOfAnotherNodesContextIsNotTheCallers(t *testing.T) {
	err := carried(t, context.DeadlineExceeded)
	require.NotErrorIs(t, err, context.DeadlineExceeded)
	require.True(t, partition.Retriable(err))
}
