package group

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/partition"
)

// fill appends records with these timestamps, in seconds, to a partition.
func fill(t *testing.T, s *partition.Store, tp partition.TopicPartition, seconds ...int64) {
	for _, at := range seconds {
		var b batch.Builder
		b.Reset(nil, batch.Options{})
		b.Append(at*1000, nil, []byte("x"), nil)
		data, err := b.Finish()
		require.NoError(t, err)
		_, err = s.Append(t.Context(), partition.AppendRequest{TopicPartition: tp, Batch: data})
		require.NoError(t, err)
	}
}

func at(o partition.Offset) CommittedOffset {
	return CommittedOffset{Offset: o, LeaderEpoch: partition.LeaderEpochUnknown}
}

// Every target of kafka-consumer-groups --reset-offsets, each kept within the log.
func TestResetGoesWhereKafkasToolGoes(t *testing.T) {
	store := newStore(t, "orders")
	manual := clock.NewManual(time.Unix(1060, 0))
	g, _ := openGroup(t, store, "billing", Config{Coordinator: CoordinatorConfig{Clock: manual}})
	p := tp("orders", 0)
	fill(t, store, p, 1000, 1010, 1020, 1030, 1040)
	_, err := store.DeleteRecords(t.Context(), p, 1)
	require.NoError(t, err)
	for name, c := range map[string]struct {
		to   ResetTo
		want partition.Offset
	}{
		"zero value":                   {ResetTo{}, 1},
		"earliest":                     {ToEarliest, 1},
		"latest":                       {ToLatest, 5},
		"offset":                       {ToOffset(3), 3},
		"offset below the start":       {ToOffset(0), 1},
		"offset above the end":         {ToOffset(99), 5},
		"time of a record":             {ToTime(time.Unix(1020, 0)), 2},
		"time between":                 {ToTime(time.Unix(1021, 0)), 3},
		"time before all":              {ToTime(time.Unix(1, 0)), 1},
		"time before 1970":             {ToTime(time.Unix(-5, 0)), 1},
		"time after all":               {ToTime(time.Unix(2000, 0)), 5},
		"duration":                     {ToAgo(30 * time.Second), 3},
		"back":                         {ShiftBy(-1), 1},
		"forth":                        {ShiftBy(1), 3},
		"not at all":                   {ShiftBy(0), 2},
		"back beyond the start":        {ShiftBy(-9), 1},
		"forth beyond the end":         {ShiftBy(9), 5},
		"back beyond what there is":    {ShiftBy(math.MinInt64), 1},
		"forward beyond what there is": {ShiftBy(math.MaxInt64), 5},
	} {
		require.NoError(t, g.Commit(t.Context(), map[partition.TopicPartition]CommittedOffset{p: at(2)}))
		plan, err := g.PlanReset(t.Context(), c.to)
		require.NoError(t, err, name)
		require.Equal(t, c.want, plan[p].Offset, name)
		committed, err := g.Committed(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, 2, committed[p].Offset, "%s: a plan changes nothing", name)
		_, err = g.Reset(t.Context(), c.to)
		require.NoError(t, err, name)
		committed, err = g.Committed(t.Context())
		require.NoError(t, err)
		require.Equal(t, c.want, committed[p].Offset, name)
	}
}

// Offsets are not moved from under members, nor where there is nothing to move.
func TestResetIsRefusedWhereKafkasToolRefuses(t *testing.T) {
	store := newStore(t, "orders")
	g, _ := openGroup(t, store, "billing", Config{})
	plan, err := g.Reset(t.Context(), ToEarliest)
	require.NoError(t, err, "a group that does not exist has nothing to reset")
	require.Empty(t, plan)
	_, err = g.Reset(t.Context(), ToEarliest, tp("orders", 1))
	require.NoError(t, err, "but gets what is asked for")

	_, err = g.Reset(t.Context(), ShiftBy(1), tp("orders", 2))
	require.ErrorIs(t, err, partition.ErrOffsetOutOfRange)
	_, err = g.Reset(t.Context(), ToLatest, tp("orders", 1), tp("nowhere", 0))
	require.ErrorIs(t, err, partition.ErrUnknownTopicOrPartition)

	m := newClient(t, g, "orders")
	require.NoError(t, m.enter(t.Context()))
	_, err = g.Reset(t.Context(), ToLatest)
	require.ErrorIs(t, err, ErrGroupNotEmpty)
	require.NoError(t, g.Remove(t.Context(), LeavingMember{MemberID: m.joined.MemberID}))
	_, err = g.Reset(t.Context(), ToLatest)
	require.NoError(t, err)
}

func TestStandingsSayWhoHasWhatAndHowFarBehind(t *testing.T) {
	store := newStore(t, "orders", "old", "gone")
	g, _ := openGroup(t, store, "billing", Config{})
	for p := range int32(4) {
		fill(t, store, tp("orders", p), 1000, 1010, 1020)
	}
	require.NoError(t, g.Commit(t.Context(), map[partition.TopicPartition]CommittedOffset{
		tp("orders", 0): at(1), tp("old", 0): at(5), tp("gone", 0): at(1),
	}))
	require.NoError(t, store.DeleteTopic(t.Context(), "gone"))
	m := newClient(t, g, "orders")
	require.NoError(t, m.enter(t.Context()))
	standings, d, err := g.Standings(t.Context())
	require.NoError(t, err)
	require.Equal(t, Stable, d.State)
	require.Len(t, standings, 5)
	require.Equal(t, tp("old", 0), standings[0].TopicPartition)
	require.Nil(t, standings[0].Owner)
	require.Zero(t, standings[0].Lag, "the log has lost its tail, or the topic its records")
	require.EqualValues(t, 2, standings[1].Lag)
	require.Equal(t, m.joined.MemberID, standings[1].Owner.MemberID)
	require.Nil(t, standings[2].Committed)
	require.EqualValues(t, -1, standings[2].Lag)
	require.EqualValues(t, 3, standings[2].End)
}

func TestListFiltersByStateAndType(t *testing.T) {
	store := newStore(t, "orders")
	b := newBackend(store)
	for _, id := range []string{"b", "a", "c"} {
		g, _ := openGroup(t, b, id, Config{})
		require.NoError(t, g.Commit(t.Context(), map[partition.TopicPartition]CommittedOffset{tp("orders", 0): at(1)}))
		if id == "c" {
			require.NoError(t, newClient(t, g, "orders").enter(t.Context()))
		}
	}
	names := func(b Backend, r ListGroupsRequest) (out []string) {
		list, err := List(t.Context(), b, r)
		require.NoError(t, err)
		for _, l := range list {
			out = append(out, l.Group)
		}
		return out
	}
	require.Equal(t, []string{"a", "b", "c"}, names(b, ListGroupsRequest{}))
	require.Equal(t, []string{"a", "b"}, names(b, ListGroupsRequest{States: []State{Empty, Dead}}))
	require.Equal(t, []string{"c"}, names(b, ListGroupsRequest{States: []State{Stable}, Types: []GroupType{ClassicGroup}}))
	require.Empty(t, names(b, ListGroupsRequest{Types: []GroupType{"other"}}))
	require.Len(t, names(newBackend(store), ListGroupsRequest{}), 3, "all are loaded for it")
}

// What is deleted stays deleted for the next coordinator, and the answer names what could not be.
func TestDeletedGroupsAndOffsetsStayDeleted(t *testing.T) {
	store := newStore(t, "orders")
	b := newBackend(store)
	deleted := make(chan OffsetsDeletedInfo, 10)
	c := Config{Coordinator: CoordinatorConfig{Events: Events{OffsetsDeleted: func(i OffsetsDeletedInfo) { deleted <- i }}}}
	busy, _ := openGroup(t, b, "busy", c)
	idle, _ := openGroup(t, b, "idle", c)
	for _, g := range []*ConsumerGroup{busy, idle} {
		require.NoError(t, g.Commit(t.Context(), map[partition.TopicPartition]CommittedOffset{tp("orders", 0): at(1), tp("orders", 1): at(2)}))
	}
	require.NoError(t, newClient(t, busy, "orders").enter(t.Context()))
	err := busy.DeleteOffsets(t.Context(), tp("orders", 0))
	require.ErrorIs(t, err, ErrGroupSubscribedToTopic)
	require.ErrorContains(t, err, "orders-0")
	require.NoError(t, idle.DeleteOffsets(t.Context(), tp("orders", 0)))
	require.Equal(t, OffsetsDeletedInfo{Group: "idle", Partitions: 1}, within(t, deleted))

	err = Delete(t.Context(), b, "idle", "busy", "nobody")
	require.ErrorIs(t, err, ErrGroupNotEmpty)
	require.ErrorIs(t, err, ErrGroupIDNotFound)
	require.ErrorContains(t, err, `"busy"`)
	require.NotContains(t, err.Error(), `"idle"`)
	require.Equal(t, OffsetsDeletedInfo{Group: "idle", Partitions: 1, WholeGroup: true}, within(t, deleted))
	stats := busy.Stats()
	require.EqualValues(t, 2, stats.DeletedOffsets)
	require.EqualValues(t, 1, stats.DeletedGroups)

	next := newBackend(store)
	list, err := List(t.Context(), next, ListGroupsRequest{})
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, "busy", list[0].Group)
}

// Expiry runs by the coordinator's clock, also for groups that nobody has asked for since the open.
func TestOffsetsExpireOnlyIfConfigured(t *testing.T) {
	store := newStore(t, "orders")
	start := time.Unix(1e9, 0)
	open := func(now time.Time, retention time.Duration) (*ConsumerGroup, *clock.Manual, chan OffsetsDeletedInfo) {
		manual, expired := clock.NewManual(now), make(chan OffsetsDeletedInfo, 10)
		g, _ := openGroup(t, newBackend(store), "billing", Config{Coordinator: CoordinatorConfig{
			Clock: manual, OffsetsRetention: retention, Events: Events{OffsetsDeleted: func(i OffsetsDeletedInfo) { expired <- i }},
		}})
		return g, manual, expired
	}
	g, manual, _ := open(start, 0)
	require.NoError(t, g.Commit(t.Context(), map[partition.TopicPartition]CommittedOffset{tp("orders", 0): at(1)}))
	manual.Advance(1000 * time.Hour)
	committed, err := g.Committed(t.Context())
	require.NoError(t, err)
	require.Len(t, committed, 1, "off by default")

	other, manual, expired := open(start.Add(time.Hour), 2*time.Hour)
	for len(expired) == 0 { // the store's groups are loaded for it, on a goroutine of its own
		manual.Advance(time.Hour)
		time.Sleep(100 * time.Microsecond) // for that goroutine to get a processor before centuries have passed
	}
	require.Equal(t, OffsetsDeletedInfo{Group: "billing", Partitions: 1, WholeGroup: true, Expired: true}, <-expired)
	require.EqualValues(t, 1, other.Stats().ExpiredOffsets)
	again, _, _ := open(start, 0)
	committed, err = again.Committed(t.Context())
	require.NoError(t, err)
	require.Empty(t, committed)
}
