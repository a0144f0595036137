package kafka

import (
	"context"
	"errors"
	"hash/fnv"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/partlog/partlog/partition"
)

// layout says which broker leads which partition. A store has one copy of each partition; replicas are what clients are
// told (one copy on one disk), and decide which broker serves it. Replica lists are kept in the catalogue, leaders are not:
// they are worked out from the replica lists and the brokers that run, and stay where they are as long as they can.
//
// A topic's placement is never changed, only replaced.
type layout struct {
	server *Server

	changing sync.Mutex // one change at a time; held during writes to the catalogue, before mu

	// moves is odd while leaders move: their epochs have been raised and nobody sees the new leaders yet.
	moves atomic.Int64

	mu     sync.RWMutex // guards topics
	topics map[partition.TopicID]*placement
}

// placement is where the partitions of one topic are.
type placement struct {
	name       string
	partitions []placed
}

// placed is where one partition is. Its slices are never changed.
type placed struct {
	leader   int32   // -1: none of the in-sync replicas runs
	replicas []int32 // the first is preferred
	isr      []int32

	// Of a node's view only.
	epoch                               int32 // the leader's
	elr, lastKnownELR, adding, removing []int32
}

// The topics of coordinators.
const (
	offsetsTopic      = "__consumer_offsets"
	transactionsTopic = "__transaction_state"
)

// placementPrefix begins the settings that keep the replica lists of a topic, behind which is its id.
const placementPrefix = "kafka/assignment/"

// of returns the placement of a topic, working it out at its first use and after the topic has grown.
func (l *layout) of(t *partition.Topic) *placement {
	if v := l.server.node; v != nil {
		return v.of(t)
	}
	if p := l.load(t.ID()); p != nil && len(p.partitions) >= int(t.Partitions()) {
		return p
	}
	l.changing.Lock()
	defer l.changing.Unlock()
	return l.workOut(t)
}

func (l *layout) load(id partition.TopicID) *placement {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.topics[id]
}

func (l *layout) publish(fresh map[partition.TopicID]*placement) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.topics == nil {
		l.topics = map[partition.TopicID]*placement{}
	}
	maps.Copy(l.topics, fresh)
}

// workOut is of, with changing held.
func (l *layout) workOut(t *partition.Topic) *placement {
	id, n := t.ID(), int(t.Partitions())
	old := l.load(id)
	if old == nil {
		old = &placement{name: t.Name()}
	}
	if len(old.partitions) >= n {
		return old
	}
	lists := l.stored(id)
	if len(lists) < n {
		lists = l.spread(t, lists, n)
	}
	next := &placement{name: t.Name(), partitions: slices.Clip(slices.Clone(old.partitions))}
	for i := len(old.partitions); i < n; i++ {
		p := placed{leader: -1, replicas: lists[i], isr: lists[i]}
		next.partitions = append(next.partitions, l.elect(i, p, false))
	}
	l.publish(map[partition.TopicID]*placement{id: next})
	return next
}

// leaderEpoch returns the leader epoch of one partition that is at a place of t's.
func (s *Server) leaderEpoch(t *partition.Topic, i int32, at placed) int32 {
	if s.node != nil {
		return at.epoch
	}
	return int32(t.LeaderEpoch(i))
}

// at returns where one partition is; false if the topic has no such partition.
func (l *layout) at(t *partition.Topic, i int32) (placed, bool) {
	if i < 0 || i >= t.Partitions() {
		return placed{leader: -1}, false
	}
	return l.of(t).partitions[i], true
}

// stored reads a topic's replica lists from the catalogue.
func (l *layout) stored(id partition.TopicID) [][]int32 {
	key := placementPrefix + id.String()
	for _, s := range l.server.store.Settings(key) {
		if s.Key == key {
			lists, err := parseReplicas(string(s.Value))
			if err == nil {
				return lists
			}
		}
	}
	return nil
}

// spread completes replica lists to n partitions, for topics that nobody has assigned: as Kafka does it for a new topic,
// but with a beginning that the topic's id decides, so that it is the same after a restart with the same brokers.
func (l *layout) spread(t *partition.Topic, lists [][]int32, n int) [][]int32 {
	brokers, settings := l.server.brokers(), l.server.settings.Load()
	factor := settings.replicationFactor
	switch {
	case len(lists) > 0:
		factor = int16(len(lists[0]))
	case t.Name() == offsetsTopic:
		factor = settings.offsetsReplication
	case t.Name() == transactionsTopic:
		factor = settings.txnReplication
	}
	id, h := t.ID(), fnv.New32a()
	h.Write(id[:])
	more := assignReplicas(brokers, n, min(max(int(factor), 1), len(brokers)), int(h.Sum32()>>1), int(h.Sum32()>>9))
	return append(slices.Clone(lists), more[len(lists):]...)
}

// elect gives p the leader that it has to have now. Replicas on brokers that the server does not have count as gone for
// good: others serve the partition, whose bytes are in the store. Those on brokers that are stopped count as down.
// preferred moves the leader to the first replica that can lead. i is the partition's number.
func (l *layout) elect(i int, p placed, preferred bool) placed {
	runs := func(id int32) bool { b := l.server.brokerByID(id); return b != nil && b.running.Load() }
	known := func(id int32) bool { return l.server.brokerByID(id) != nil }
	if !slices.ContainsFunc(p.replicas, known) {
		if all := l.server.brokers(); len(all) > 0 {
			b := all[i%len(all)]
			p.replicas = []int32{b.id}
			p.isr = p.replicas
		}
	} else if slices.ContainsFunc(p.replicas, func(id int32) bool { return !known(id) }) {
		p.replicas = slices.DeleteFunc(slices.Clone(p.replicas), func(id int32) bool { return !known(id) })
		if p.isr = slices.DeleteFunc(slices.Clone(p.isr), func(id int32) bool { return !known(id) }); len(p.isr) == 0 {
			p.isr = p.replicas
		}
	}
	if p.leader >= 0 && !preferred && runs(p.leader) && slices.Contains(p.isr, p.leader) {
		return p
	}
	p.leader = -1
	for _, id := range p.replicas {
		if runs(id) && slices.Contains(p.isr, id) {
			p.leader = id
			break
		}
	}
	return p
}

// update replaces placements by what change returns for each partition of the topics given, all of them if there are none,
// and raises the leader epochs of those whose leader changes. The catalogue has it before anybody sees it.
func (l *layout) update(ctx context.Context, change func(tp partition.TopicPartition, p placed) placed, topics ...*partition.Topic) error {
	l.changing.Lock()
	defer l.changing.Unlock()
	if len(topics) > 0 {
		return l.replace(ctx, change, topics)
	}
	for topics = l.known(); ; {
		err := l.replace(ctx, change, topics)
		if !errors.Is(err, partition.ErrUnknownTopicOrPartition) {
			return err
		}
		before := len(topics)
		if topics = l.known(); len(topics) >= before {
			return err
		} // else one was deleted meanwhile, which is no concern of the others
	}
}

// replace is update, with changing held.
func (l *layout) replace(ctx context.Context, change func(tp partition.TopicPartition, p placed) placed, topics []*partition.Topic) error {
	var raise []partition.TopicPartition
	fresh := map[partition.TopicID]*placement{}
	for _, t := range topics {
		old := l.workOut(t)
		next := &placement{name: old.name, partitions: slices.Clone(old.partitions)}
		for i := range next.partitions {
			tp := partition.TopicPartition{Topic: t.Name(), Partition: int32(i)}
			p := &next.partitions[i]
			*p = change(tp, *p)
			if p.leader != old.partitions[i].leader {
				raise = append(raise, tp)
			}
		}
		fresh[t.ID()] = next
	}
	if len(raise) > 0 {
		l.moves.Add(1)
		defer l.moves.Add(1)
	}
	if err := l.server.store.RaiseLeaderEpochs(ctx, raise...); err != nil && !errors.Is(err, partition.ErrReadOnly) {
		return err
	}
	l.publish(fresh)
	return nil
}

// known returns the topics that have a placement, and forgets those that have been deleted.
func (l *layout) known() (topics []*partition.Topic) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id := range l.topics {
		if t, err := l.server.store.TopicByID(id); err == nil {
			topics = append(topics, t)
		} else {
			delete(l.topics, id)
		}
	}
	return topics
}

// rebalance gives every partition whose leader has gone another one.
func (l *layout) rebalance(ctx context.Context) error {
	return l.update(ctx, func(tp partition.TopicPartition, p placed) placed { return l.elect(int(tp.Partition), p, false) })
}

// brokerAdded gives a broker that is new to the server what it has by the lists in the catalogue: clients may have asked for
// topics before all brokers of a store that was opened again had been added.
func (l *layout) brokerAdded(ctx context.Context, id int32) error {
	lists := map[string][][]int32{} // by the topic's id
	for _, s := range l.server.store.Settings(placementPrefix) {
		if replicas, err := parseReplicas(string(s.Value)); err == nil {
			lists[strings.TrimPrefix(s.Key, placementPrefix)] = replicas
		}
	}
	byName := map[string][][]int32{}
	for _, t := range l.known() {
		byName[t.Name()] = lists[t.ID().String()]
	}
	return l.update(ctx, func(tp partition.TopicPartition, p placed) placed {
		stored := byName[tp.Topic]
		if int(tp.Partition) >= len(stored) || slices.Contains(p.replicas, id) || !slices.Contains(stored[tp.Partition], id) {
			return l.elect(int(tp.Partition), p, false)
		}
		return l.elect(int(tp.Partition), l.rejoined(p, stored[tp.Partition], id), true)
	})
}

// rejoined is p with a broker back among its replicas, at its place in the stored list, and in sync: it has every record.
func (l *layout) rejoined(p placed, stored []int32, id int32) placed {
	old := p
	p.replicas = slices.DeleteFunc(slices.Clone(stored), func(r int32) bool { return r != id && !slices.Contains(old.replicas, r) })
	p.isr = slices.DeleteFunc(slices.Clone(p.replicas), func(r int32) bool { return r != id && !slices.Contains(old.isr, r) })
	if len(p.replicas) == 1 {
		return p // the others only stood in
	}
	for _, r := range old.replicas { // who was made a replica by moving the leader stays one
		if !slices.Contains(p.replicas, r) {
			p.replicas = append(p.replicas, r)
			if slices.Contains(old.isr, r) {
				p.isr = append(p.isr, r)
			}
		}
	}
	return p
}

// brokerStopped takes a broker out of in-sync replicas, but for the last one of each partition, and moves leaders.
func (l *layout) brokerStopped(ctx context.Context, id int32) error {
	return l.update(ctx, func(tp partition.TopicPartition, p placed) placed {
		if len(p.isr) > 1 && slices.Contains(p.isr, id) {
			p.isr = slices.DeleteFunc(slices.Clone(p.isr), func(r int32) bool { return r == id })
		}
		return l.elect(int(tp.Partition), p, false)
	})
}

// brokerStarted puts a broker back into the in-sync replicas of all that it has: it has every record.
func (l *layout) brokerStarted(ctx context.Context, id int32) error {
	return l.update(ctx, func(tp partition.TopicPartition, p placed) placed {
		if slices.Contains(p.replicas, id) && !slices.Contains(p.isr, id) {
			p.isr = append(slices.Clone(p.isr), id)
		}
		return l.elect(int(tp.Partition), p, false)
	})
}

// assign keeps the replica lists of a topic, the first n of them being new or changed. It is what a new topic ends with.
func (l *layout) assign(ctx context.Context, t *partition.Topic, lists [][]int32) error {
	l.changing.Lock()
	defer l.changing.Unlock()
	return l.keep(ctx, t, lists)
}

// reassign is assign of lists that are made of those that there are now, with nobody between: more partitions, which may be
// among them yet or not, and other replicas.
func (l *layout) reassign(ctx context.Context, t *partition.Topic, change func(now [][]int32) [][]int32) error {
	l.changing.Lock()
	defer l.changing.Unlock()
	at := l.load(t.ID())
	if at == nil {
		at = l.workOut(t)
	}
	now := make([][]int32, len(at.partitions))
	for i := range now {
		now[i] = at.partitions[i].replicas
	}
	return l.keep(ctx, t, change(now))
}

// keep is assign, with changing held. Lists are stored first: partitions that nobody has asked for begin with them.
func (l *layout) keep(ctx context.Context, t *partition.Topic, lists [][]int32) error {
	if err := l.store(ctx, t.ID(), lists); err != nil {
		return err
	}
	return l.replace(ctx, func(tp partition.TopicPartition, p placed) placed {
		if int(tp.Partition) >= len(lists) || slices.Equal(lists[tp.Partition], p.replicas) {
			return p
		}
		p.replicas, p.isr = lists[tp.Partition], lists[tp.Partition]
		return l.elect(int(tp.Partition), p, false)
	}, []*partition.Topic{t})
}

// store writes replica lists to the catalogue. To be called before the topic is used, or by keep.
func (l *layout) store(ctx context.Context, id partition.TopicID, lists [][]int32) error {
	return l.server.store.PutSettings(ctx, partition.Setting{Key: placementPrefix + id.String(), Value: []byte(formatReplicas(lists))})
}

// forget drops what is known of a topic that has been deleted.
func (l *layout) forget(ctx context.Context, id partition.TopicID) error {
	l.changing.Lock()
	defer l.changing.Unlock()
	l.mu.Lock()
	delete(l.topics, id)
	l.mu.Unlock()
	if l.stored(id) == nil {
		return nil
	}
	return l.server.store.PutSettings(ctx, partition.Setting{Key: placementPrefix + id.String()})
}
