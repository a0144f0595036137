package partition_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/partition/partitiontest"
	"github.com/stretchr/testify/require"
)

// The crash loop of a node. It makes changes of the shared catalogue, copies records, is cut off, begins anew, is given up and taken up again; before
// every operation of its disk that changes something, power is lost. What is opened then has made a prefix of the changes, the last one whole or not
// at all; and of its partition a prefix of what it had, with all that was durable and nothing that was cut off before.
type nodeRun struct {
	t     *testing.T
	mode  partition.SyncMode
	rng   *rand.Rand
	disk  *partitiontest.Disk
	clock *partitiontest.Clock
	hand  *byHand
	store *partition.Store

	leader *partition.Replica
	source *partition.Store
	epoch  partition.LeaderEpoch

	may     map[partition.Offset]map[string]bool
	durable partition.Offset // -1: there need not be a copy
	start   partition.Offset
	exports map[uint64]string
	seen    map[uint64]string // what images have, to be compared when all is known
	images  int
	perOp   int
	script  []string
}

func (r *nodeRun) failf(format string, args ...any) {
	r.t.Helper()
	r.t.Fatalf("mode %v, script %q: %s", r.mode, r.script, fmt.Sprintf(format, args...))
}

func (r *nodeRun) open(disk *partitiontest.Disk, h *byHand) (*partition.Store, error) {
	return partition.Open("/node", partition.Config{FS: disk, Clock: r.clock, Sync: r.mode, Cluster: h, LowSpaceBytes: partition.Unlimited, CleanerBackoff: partition.Unlimited,
		Topics: partition.TopicConfig{Extra: map[string]string{"internal.segment.bytes": "1024"}}})
}

func (r *nodeRun) hook(op partitiontest.Op) {
	r.disk.EachCrash(r.perOp, func(after *partitiontest.Disk, label string) bool {
		r.check(after, fmt.Sprintf("before %v, kept %s", op, label))
		return true
	})
}

func (r *nodeRun) check(after *partitiontest.Disk, where string) {
	r.images++
	h := &byHand{}
	s, err := r.open(after, h)
	if err != nil {
		r.failf("%s: open: %v", where, err)
	}
	h.store = s
	applied := s.AppliedShared()
	if have, ok := r.seen[applied]; ok && have != string(s.ExportShared()) {
		r.failf("%s: two states of one index %d", where, applied)
	}
	r.seen[applied] = string(s.ExportShared())
	if last := r.hand.index; applied+1 < last {
		r.failf("%s: has applied %d of %d", where, applied, last)
	}
	replica, err := s.Replica(handTP, partition.TopicID{})
	switch {
	case errors.Is(err, partition.ErrNotLeaderOrFollower) || errors.Is(err, partition.ErrUnknownTopicOrPartition):
		if r.durable > 0 {
			r.failf("%s: the copy is gone: %v", where, err)
		}
	case err != nil:
		r.failf("%s: %v", where, err)
	default:
		r.read(replica, where)
	}
	if r.rng.IntN(4) != 0 || err != nil {
		if cerr := s.Close(); cerr != nil {
			r.failf("%s: close: %v", where, cerr)
		}
		return
	}
	// It goes on, as a leader.
	if err := s.SetReplica(handTP, partition.TopicID{}, partition.ReplicaState{Role: partition.RoleLeader, Epoch: 100, ISR: 1, MinISR: 1}); err != nil {
		r.failf("%s: %v", where, err)
	}
	h.appended = func(partition.TopicPartition) { replica.SetHighWatermark(replica.Promised()) }
	end := replica.End()
	if res, err := s.Append(r.t.Context(), partition.AppendRequest{TopicPartition: handTP, Batch: handBatch("goes on")}); err != nil || res.BaseOffset != end {
		r.failf("%s: append at %d: %+v %v", where, end, res, err)
	}
	if err := s.Close(); err != nil {
		r.failf("%s: close: %v", where, err)
	}
	if s, err = r.open(after, &byHand{}); err != nil {
		r.failf("%s: open after a clean close: %v", where, err)
	}
	if !s.CleanOpen() {
		r.failf("%s: not clean after a clean close", where)
	}
	if replica, err = s.Replica(handTP, partition.TopicID{}); err != nil || replica.End() != end+1 || replica.HighWatermark() != end+1 {
		r.failf("%s: after a clean close: %v", where, err)
	}
	if err := s.Close(); err != nil {
		r.failf("%s: close: %v", where, err)
	}
}

// read checks the copy.
func (r *nodeRun) read(replica *partition.Replica, where string) {
	if replica.End() < r.durable || r.durable >= 0 && replica.Start() < r.start {
		r.failf("%s: the copy is [%d, %d), and [%d, %d) was durable", where, replica.Start(), replica.End(), r.start, r.durable)
	}
	if replica.HighWatermark() > replica.End() {
		r.failf("%s: the high watermark %d is above the end %d", where, replica.HighWatermark(), replica.End())
	}
	var res partition.FetchResult
	for at := replica.Start(); at < replica.End(); {
		if err := replica.Read(at, 1<<20, &res); err != nil {
			r.failf("%s: read at %d: %v", where, at, err)
		}
		records, err := partitiontest.Records(res.Batches)
		res.Lease.Release()
		if err != nil || len(records) == 0 {
			r.failf("%s: read at %d: %d records, %v", where, at, len(records), err)
		}
		for _, rec := range records {
			if rec.Offset < at {
				continue
			}
			if rec.Offset != at || !r.may[at][string(rec.Value)] {
				r.failf("%s: at %d there is %d with the value %q", where, at, rec.Offset, rec.Value)
			}
			at++
		}
	}
}

func (r *nodeRun) copyOf() *partition.Replica {
	replica, err := r.store.Replica(handTP, partition.TopicID{})
	require.NoError(r.t, err)
	return replica
}

func (r *nodeRun) follow() {
	require.NoError(r.t, r.store.SetReplica(handTP, partition.TopicID{}, partition.ReplicaState{Role: partition.RoleFollower, Leader: 1, Epoch: r.epoch}))
}

// lead has the leader, whose disk is never lost, begin an epoch with the records below to.
func (r *nodeRun) lead(cut func(*partition.Replica) error) {
	r.epoch++
	if cut != nil {
		require.NoError(r.t, r.source.SetReplica(handTP, partition.TopicID{}, partition.ReplicaState{Role: partition.RoleFollower, Leader: 1, Epoch: r.epoch}))
		require.NoError(r.t, cut(r.leader))
		r.epoch++
	}
	r.leader = role(r.t, r.source, partition.RoleLeader, r.epoch, 3)
	r.follow()
}

// forget has nothing found any more from an offset on.
func (r *nodeRun) forget(from partition.Offset) {
	for o := range r.may {
		if o >= from {
			delete(r.may, o)
		}
	}
}

func (r *nodeRun) step(op string) {
	r.script = append(r.script, op)
	ctx := r.t.Context()
	var err error
	switch op {
	case "create":
		_, err = r.store.CreateTopic(ctx, fmt.Sprint("topic", len(r.script)), partition.TopicConfig{Partitions: 3})
	case "configure":
		err = r.store.AlterTopicConfig(ctx, handTP.Topic, map[string]string{"retention.ms": fmt.Sprint(1<<40 + len(r.script))})
	case "settings":
		err = r.store.PutSettings(ctx, partition.Setting{Key: "a/b/c", Value: []byte(fmt.Sprint(len(r.script)))})
	case "import":
		r.hand.index++
		err = r.store.ImportShared(r.hand.index, r.source.ExportShared())
	case "copy":
		for range 1 + r.rng.IntN(4) {
			base := r.leader.End()
			value := fmt.Sprintf("%d/%d/%d", r.epoch, base, len(r.script))
			if r.may[base] == nil {
				r.may[base] = map[string]bool{}
			}
			r.may[base][value] = true
			_, err = appendTo(ctx, r.source, partition.AcksLeader, value)
			require.NoError(r.t, err)
		}
		c := r.copyOf()
		var res partition.FetchResult
		require.NoError(r.t, r.leader.Read(c.End(), 1<<20, &res))
		if _, err = c.Append(res.Batches); err == nil && r.mode == partition.SyncAlways {
			r.durable = c.End()
		}
		res.Lease.Release()
	case "truncate":
		c := r.copyOf()
		to := c.Start() + partition.Offset(r.rng.Int64N(int64(c.End()-c.Start())+1))
		r.lead(func(l *partition.Replica) error { return l.Truncate(max(to, l.Start())) })
		to = r.leader.End()
		r.durable = min(r.durable, to)
		if err = c.Truncate(to); err == nil {
			r.forget(to)
		}
	case "reset":
		c := r.copyOf()
		to := c.End() + partition.Offset(r.rng.IntN(4))
		r.lead(func(l *partition.Replica) error { return l.Reset(to) })
		r.durable = -1
		if err = c.Reset(to); err == nil {
			r.durable, r.start = to, to
			r.forget(to)
		}
	case "high":
		c := r.copyOf()
		c.SetHighWatermark(c.End() - partition.Offset(r.rng.IntN(2)))
	case "start":
		c := r.copyOf()
		if err = c.SetLogStart(c.HighWatermark() - 1); err == nil {
			r.start = c.Start()
			r.leader.SetHighWatermark(r.leader.End())
			err = r.leader.SetLogStart(r.start)
		}
	case "again": // the copy goes, and comes back
		r.durable, r.start = -1, 0
		if err = r.store.RemoveReplica(handTP, partition.TopicID{}); err == nil {
			r.forget(0)
			r.lead(func(l *partition.Replica) error { return l.Reset(0) })
			r.durable = 0
		}
	case "lead":
		r.epoch++
		err = r.store.SetReplica(handTP, partition.TopicID{}, partition.ReplicaState{Role: partition.RoleLeader, Leader: 7, Epoch: r.epoch, ISR: 1, MinISR: 1})
		r.lead(nil)
	case "checkpoint":
		r.clock.Advance(2 * time.Second)
		if r.mode == partition.SyncAlways {
			r.durable = r.copyOf().Durable()
		}
	case "reopen":
		end := r.copyOf().End()
		if err = r.store.Close(); err == nil {
			r.durable = end
			r.store, err = r.open(r.disk, r.hand)
			r.hand.store = r.store
			r.follow()
		}
	}
	if err != nil {
		r.failf("%s: %v", op, err)
	}
	r.exports[r.store.AppliedShared()] = string(r.store.ExportShared())
}

var nodeOps = []string{"create", "configure", "settings", "import", "copy", "copy", "truncate", "reset", "high", "start", "again", "lead", "checkpoint", "reopen"}

func runNode(t *testing.T, mode partition.SyncMode, seed uint64, script []string, perOp int) int {
	r := &nodeRun{t: t, mode: mode, rng: rand.New(rand.NewPCG(seed, 4)), disk: partitiontest.NewDisk(), clock: partitiontest.NewClock(time.Unix(1_700_000_000, 0)),
		hand: &byHand{}, may: map[partition.Offset]map[string]bool{}, durable: -1, exports: map[uint64]string{}, seen: map[uint64]string{}, perOp: perOp}
	_, r.source = openByHand(t, partition.Config{Sync: partition.SyncNever})
	r.leader = role(t, r.source, partition.RoleLeader, 1, 3)
	r.epoch = 1
	var err error
	r.store, err = r.open(r.disk, r.hand)
	require.NoError(t, err)
	r.hand.store = r.store
	// Its topic is that of the leader.
	r.hand.index = 1
	require.NoError(t, r.store.ImportShared(1, r.source.ExportShared()))
	r.exports[1] = string(r.store.ExportShared())
	r.follow()
	r.durable = 0
	r.disk.OnOp(r.hook)
	for _, op := range script {
		r.step(op)
	}
	r.hook(partitiontest.Op{})
	r.disk.OnOp(nil)
	require.NoError(t, r.store.Close())
	for index, state := range r.seen {
		if r.exports[index] != state {
			r.failf("a crash shows a state at index %d that there never was", index)
		}
	}
	return r.images
}

func TestEveryCrashStateOfANodeIsOneThatItWasIn(t *testing.T) {
	images, seed := 0, uint64(0)
	for _, a := range nodeOps[1:] {
		for _, b := range nodeOps[1:] {
			seed++
			images += runNode(t, []partition.SyncMode{partition.SyncAlways, partition.SyncNever}[seed%2], seed, []string{"copy", "checkpoint", a, b, "copy"}, 1)
		}
	}
	limit, begun := soak(t), time.Now()
	for i := 0; i < 10 || time.Since(begun) < limit; i++ {
		seed++
		rng := rand.New(rand.NewPCG(seed, 5))
		script := []string{"copy"}
		for range 4 + rng.IntN(10) {
			script = append(script, nodeOps[rng.IntN(len(nodeOps))])
		}
		images += runNode(t, []partition.SyncMode{partition.SyncAlways, partition.SyncNever}[seed%2], seed, script, 2)
	}
	t.Logf("crash states: %d, 0 lost", images)
}
