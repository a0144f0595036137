package kafka

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

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
	adding   []int32 // of a reassignment, which is over at once; always empty
	removing []int32
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

// assignReplicas gives n partitions factor replicas each, by Kafka's rule (AdminUtils.assignReplicasToBrokers): the first
// replicas go round the brokers, the others follow at a distance that grows with each round, and brokers of different racks
// take turns. first and shift choose where it begins.
func assignReplicas(brokers []*Broker, n, factor, first, shift int) [][]int32 {
	order := alternateRacks(brokers)
	b := len(order)
	out := make([][]int32, n)
	if b == 0 || factor < 1 {
		return out
	}
	for i := range out {
		if i > 0 && (first+i)%b == 0 {
			shift++
		}
		lead := (first + i) % b
		replicas := []int32{order[lead].id}
		racks := map[string]bool{order[lead].Rack(): true}
		distinct := countRacks(order)
		for k := 0; len(replicas) < factor && k < 2*b; k++ {
			next := order[(lead+1+(shift+k)%max(b-1, 1))%b]
			// A rack or broker that has a replica waits until all racks, then all brokers, have one.
			if slices.Contains(replicas, next.id) || racks[next.Rack()] && len(racks) < distinct && k < b {
				continue
			}
			replicas, racks[next.Rack()] = append(replicas, next.id), true
		}
		out[i] = replicas
	}
	return out
}

// alternateRacks orders brokers so that neighbours are in different racks where that is possible.
func alternateRacks(brokers []*Broker) []*Broker {
	byRack := map[string][]*Broker{}
	for _, b := range brokers {
		byRack[b.Rack()] = append(byRack[b.Rack()], b)
	}
	out := make([]*Broker, 0, len(brokers))
	racks := slices.Sorted(maps.Keys(byRack))
	for i := 0; len(out) < len(brokers); i++ {
		for _, r := range racks {
			if i < len(byRack[r]) {
				out = append(out, byRack[r][i])
			}
		}
	}
	return out
}

func countRacks(brokers []*Broker) int {
	racks := map[string]bool{}
	for _, b := range brokers {
		racks[b.Rack()] = true
	}
	return len(racks)
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
// and raises the leader epochs of those whose leader or in-sync replicas change. The catalogue has it before anybody sees it.
func (l *layout) update(ctx context.Context, change func(tp partition.TopicPartition, p placed) placed, topics ...*partition.Topic) error {
	l.changing.Lock()
	defer l.changing.Unlock()
	if len(topics) == 0 {
		topics = l.known()
	}
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

// assign keeps the replica lists of a topic, the first n of them being new or changed. It is what a new topic, more
// partitions and a reassignment end with.
func (l *layout) assign(ctx context.Context, t *partition.Topic, lists [][]int32) error {
	if err := l.store(ctx, t.ID(), lists); err != nil {
		return err
	}
	return l.update(ctx, func(tp partition.TopicPartition, p placed) placed {
		if int(tp.Partition) >= len(lists) || slices.Equal(lists[tp.Partition], p.replicas) {
			return p
		}
		p.replicas, p.isr = lists[tp.Partition], lists[tp.Partition]
		return l.elect(int(tp.Partition), p, false)
	}, t)
}

// store writes replica lists to the catalogue. To be called before the topic is used, or by assign.
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

// formatReplicas writes replica lists as "1,2;2,3".
func formatReplicas(lists [][]int32) string {
	var b []byte
	for i, ids := range lists {
		if i > 0 {
			b = append(b, ';')
		}
		for j, id := range ids {
			if j > 0 {
				b = append(b, ',')
			}
			b = strconv.AppendInt(b, int64(id), 10)
		}
	}
	return string(b)
}

func parseReplicas(text string) ([][]int32, error) {
	var lists [][]int32
	for list := range strings.SplitSeq(text, ";") {
		var ids []int32
		for item := range strings.SplitSeq(list, ",") {
			id, err := strconv.ParseInt(item, 10, 32)
			if err != nil {
				return nil, fmt.Errorf("replica lists %q: %w", text, err)
			}
			ids = append(ids, int32(id))
		}
		lists = append(lists, ids)
	}
	return lists, nil
}
