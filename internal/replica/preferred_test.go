package replica

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestAConsumerReadsInItsRack: the rules of Kafka's RackAwareReplicaSelector.
func TestAConsumerReadsInItsRack(t *testing.T) {
	leader := ReadView{Node: 1, Rack: "a", Alive: true, Leader: true, Start: 0, End: 100}
	view := func(node NodeID, rack string, end int64) ReadView {
		return ReadView{Node: node, Rack: rack, Alive: true, Start: 0, End: end}
	}
	fenced := view(2, "b", 90)
	fenced.Alive = false
	begins := view(2, "b", 90)
	begins.Start = 60
	recent := view(3, "b", 90)
	recent.CaughtUp = time.Second
	for _, tc := range []struct {
		name  string
		views []ReadView
		rack  string
		want  NodeID
	}{
		{"a replica of its rack", []ReadView{leader, view(2, "b", 90)}, "b", 2},
		{"no rack", []ReadView{leader, view(2, "", 90)}, "", NoNode},
		{"nobody in the rack", []ReadView{leader, view(2, "b", 90)}, "c", NoNode},
		{"the leader is in it", []ReadView{view(2, "a", 100), leader}, "a", NoNode},
		{"does not have the offset yet", []ReadView{leader, view(2, "b", 49)}, "b", NoNode},
		{"has the offset as its end", []ReadView{leader, view(2, "b", 50)}, "b", 2},
		{"does not have the offset any more", []ReadView{leader, begins}, "b", NoNode},
		{"has not fetched yet", []ReadView{leader, {Node: 2, Rack: "b", Alive: true, Start: -1, End: -1}}, "b", NoNode},
		{"fenced", []ReadView{leader, fenced}, "b", NoNode},
		{"who has most", []ReadView{leader, view(2, "b", 80), view(3, "b", 90)}, "b", 3},
		{"who caught up last", []ReadView{leader, view(2, "b", 90), recent}, "b", 3},
		{"the smaller id", []ReadView{leader, view(3, "b", 90), view(2, "b", 90)}, "b", 2},
	} {
		node, ok := PreferredReadReplica(tc.views, tc.rack, 50)
		require.Equal(t, tc.want, node, tc.name)
		require.Equal(t, tc.want != NoNode, ok, tc.name)
	}
}

func TestReadViewsAreTheLeaderAndTheISR(t *testing.T) {
	b := aliveBrokers{brokers: brokers{2: {20, true}, 3: {30, true}}}
	l := NewLeader(LeaderConfig{Node: 1, Brokers: b}, Metadata{Leader: 1, Replicas: []NodeID{1, 2, 3}, ISR: []NodeID{1, 2}, MinISR: 1},
		LogState{Start: 3, End: 10}, time.Second)
	_, _ = l.Fetched(&Fetch{Node: 2, BrokerEpoch: 20, Position: Position{Offset: 8, LogStart: 4}}, 2*time.Second)
	require.Equal(t, []ReadView{{Node: 1, Leader: true, Start: 3, End: 10, CaughtUp: 2 * time.Second}, {Node: 2, Start: 4, End: 8, CaughtUp: time.Second}}, l.ReadViews(nil))
}

func TestAThrottleGivesItsRateAndNoMore(t *testing.T) {
	var free Throttle
	require.Equal(t, 1000, free.Budget(0, 1000))
	require.Zero(t, free.Wait(0))

	var limited Throttle
	limited.SetRate(100, 0)
	require.Equal(t, 100, limited.Budget(0, 1000), "a second's worth at first")
	require.Equal(t, 7, limited.Budget(0, 7))
	limited.Spend(150) // a batch is not divided
	require.Zero(t, limited.Budget(0, 1000))
	wait := limited.Wait(0)
	require.Greater(t, wait, 500*time.Millisecond, "what was too much is paid back")
	require.Zero(t, limited.Wait(wait))
	require.Equal(t, 11, limited.Budget(600*time.Millisecond, 1000))
	require.Equal(t, 100, limited.Budget(time.Hour, 1000), "never more than a second's worth")

	// In any time, no more than rate and one burst.
	spent, now := 0, time.Hour
	for now < time.Hour+10*time.Second {
		n := limited.Budget(now, 30)
		limited.Spend(n)
		spent += n
		now += 33 * time.Millisecond
	}
	require.LessOrEqual(t, spent, 1100)
	require.GreaterOrEqual(t, spent, 900)
	limited.SetRate(0, now)
	require.Equal(t, 1000, limited.Budget(now, 1000))
}
