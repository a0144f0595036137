package replica

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/segment"
)

// memLog is a partition's log in memory, a record a batch, with the epochs of real ones.
type memLog struct {
	start   int64
	batches []batch.Batch
	names   []string // of batches: value@epoch
	epochs  segment.Epochs
}

func (m *memLog) Start() int64 { return m.start }

func (m *memLog) End() int64 {
	if n := len(m.batches); n > 0 {
		return m.batches[n-1].LastOffset() + 1
	}
	return m.start
}

func (m *memLog) LastEpoch() (int32, error) {
	latest, _ := m.epochs.Latest()
	return latest.Epoch, nil
}

func (m *memLog) EpochEnd(epoch int32) (int32, int64, error) {
	found, end := m.epochs.EndOffset(epoch, m.End())
	return found, end, nil
}

func record(t require.TestingT, offset int64, epoch int32, value string) batch.Batch {
	return wide(t, offset, epoch, value, 1)
}

// wide is a batch of several records with the same value.
func wide(t require.TestingT, offset int64, epoch int32, value string, n int) batch.Batch {
	var b batch.Builder
	b.Reset(nil, batch.Options{})
	for range n {
		b.Append(1000, nil, []byte(value), nil)
	}
	whole, err := b.Finish()
	require.NoError(t, err)
	whole.SetBaseOffset(offset)
	whole.SetLeaderEpoch(epoch)
	return whole
}

// append is the leader's.
func (m *memLog) append(t require.TestingT, epoch int32, value string) {
	m.take(t, record(t, m.End(), epoch, value))
}

func (m *memLog) take(t require.TestingT, b batch.Batch) {
	var it batch.Iterator
	b.Iterate(&it, batch.DefaultMaxBytes)
	require.True(t, it.Next())
	r := it.Record()
	m.names = append(m.names, fmt.Sprintf("%s@%d", r.Value, b.LeaderEpoch()))
	m.epochs.Assign(b.LeaderEpoch(), b.BaseOffset())
	m.batches = append(m.batches, slices.Clone(b))
}

// appendRaw is the follower's.
func (m *memLog) appendRaw(t require.TestingT, records []byte) {
	for len(records) > 0 {
		b, err := batch.Peek(records)
		require.NoError(t, err)
		require.NoError(t, b.CheckCRC())
		require.GreaterOrEqual(t, b.BaseOffset(), m.End())
		m.take(t, b)
		records = records[len(b):]
	}
}

func (m *memLog) truncate(offset int64) {
	n := len(m.batches)
	for n > 0 && m.batches[n-1].LastOffset() >= offset {
		n--
	}
	m.batches, m.names = m.batches[:n], m.names[:n]
	m.epochs.TruncateFromEnd(offset)
}

func (m *memLog) reset(start int64) {
	*m = memLog{start: start}
}

func (m *memLog) deleteBefore(offset int64) {
	for len(m.batches) > 0 && m.batches[0].LastOffset() < offset {
		m.batches, m.names = m.batches[1:], m.names[1:]
	}
	m.start = max(m.start, offset)
	m.epochs.TruncateFromStart(offset)
}

// read returns whole batches from offset on, at least one if there is one.
func (m *memLog) read(offset int64, maxBytes int) []byte {
	var out []byte
	for _, b := range m.batches {
		if b.LastOffset() < offset {
			continue
		}
		if len(out) > 0 && len(out)+len(b) > maxBytes {
			break
		}
		out = append(out, b...)
	}
	return out
}

// at is the record at an offset as value@epoch, "" if there is none.
func (m *memLog) at(offset int64) string {
	i, ok := slices.BinarySearchFunc(m.batches, offset, func(b batch.Batch, offset int64) int { return cmp.Compare(b.BaseOffset(), offset) })
	if !ok {
		return ""
	}
	return m.names[i]
}

func (m *memLog) describe() string {
	s := slices.Clone(m.names)
	if len(s) == 0 {
		s = append(s, "empty")
	}
	if m.start > 0 {
		s = append([]string{"from " + strconv.FormatInt(m.start, 10)}, s...)
	}
	return strings.Join(s, " ")
}

// brokers is what a node's metadata says of others.
type brokers map[NodeID]broker

type broker struct {
	epoch int64
	alive bool
}

func (b brokers) Broker(n NodeID) (int64, bool) {
	known, ok := b[n]
	if !ok {
		return -1, false
	}
	return known.epoch, known.alive
}

func (b brokers) LastFetch(NodeID) time.Duration { return Never }

// controller is a small honest one for one partition, under the rules of 04 §3.3, §4.4 and KIP-966.
type controller struct {
	meta    Metadata
	elr     []NodeID
	brokers brokers
	next    int64 // broker epoch
}

// version is what it publishes.
type version struct {
	meta    Metadata
	brokers brokers
}

func newController(replicas []NodeID, minISR int) *controller {
	c := &controller{brokers: brokers{}, next: 1}
	for _, n := range replicas {
		c.brokers[n] = broker{epoch: c.next, alive: true}
		c.next++
	}
	c.meta = Metadata{Leader: replicas[0], Replicas: replicas, ISR: slices.Clone(replicas), MinISR: minISR}
	return c
}

func (c *controller) publish() version {
	v := version{meta: c.meta, brokers: brokers{}}
	v.meta.ISR = slices.Clone(c.meta.ISR)
	for n, b := range c.brokers {
		v.brokers[n] = b
	}
	return v
}

func without(nodes []NodeID, n NodeID) []NodeID {
	return slices.DeleteFunc(slices.Clone(nodes), func(o NodeID) bool { return o == n })
}

// setISR moves who leaves an ISR that gets smaller than min.insync.replicas to the ELR, and empties the ELR when it is not.
func (c *controller) setISR(isr []NodeID) {
	if len(isr) >= c.meta.MinISR {
		c.elr = nil
	} else {
		for _, n := range c.meta.ISR {
			if !slices.Contains(isr, n) && !slices.Contains(c.elr, n) {
				c.elr = append(c.elr, n)
			}
		}
	}
	for _, n := range isr {
		c.elr = without(c.elr, n)
	}
	c.meta.ISR = isr
	c.meta.PartitionEpoch++
}

// elect finds a leader; anew says that it is a new one even if it is the same node.
func (c *controller) elect(anew bool) {
	if !anew && c.brokers[c.meta.Leader].alive && slices.Contains(c.meta.ISR, c.meta.Leader) {
		return
	}
	leader := NoNode
	for _, from := range [][]NodeID{c.meta.ISR, c.elr} {
		for _, n := range c.meta.Replicas {
			if leader == NoNode && slices.Contains(from, n) && c.brokers[n].alive {
				leader = n
			}
		}
		if leader != NoNode || len(c.meta.ISR) > 0 {
			break
		}
	}
	if leader == c.meta.Leader && !anew {
		return
	}
	if leader != NoNode && !slices.Contains(c.meta.ISR, leader) {
		c.setISR([]NodeID{leader})
	}
	c.meta.Leader = leader
	c.meta.LeaderEpoch++
	c.meta.PartitionEpoch++
}

// preferred moves the leadership to a member of the ISR.
func (c *controller) move(to NodeID) bool {
	if !slices.Contains(c.meta.ISR, to) || !c.brokers[to].alive || c.meta.Leader == to {
		return false
	}
	c.meta.Leader = to
	c.meta.LeaderEpoch++
	c.meta.PartitionEpoch++
	return true
}

func (c *controller) fence(n NodeID) {
	b := c.brokers[n]
	b.alive = false
	c.brokers[n] = b
	if slices.Contains(c.meta.ISR, n) {
		c.setISR(without(c.meta.ISR, n))
	}
	c.elect(false)
}

// unfence is the first heartbeat of one that was alive all the time.
func (c *controller) unfence(n NodeID) {
	b := c.brokers[n]
	b.alive = true
	c.brokers[n] = b
	c.elect(false)
}

// register is a node's return: its leadership has ended whatever its epoch was, and if it may have lost records it is in no set.
func (c *controller) register(n NodeID, clean bool) int64 {
	led := c.meta.Leader == n
	if !clean {
		if slices.Contains(c.meta.ISR, n) {
			c.setISR(without(c.meta.ISR, n))
		}
		c.elr = without(c.elr, n)
	}
	c.brokers[n] = broker{epoch: c.next, alive: true}
	c.next++
	c.elect(led)
	return c.brokers[n].epoch
}

// alter is AlterPartition, with the order of checks of 04 §4.4.
func (c *controller) alter(from NodeID, p Proposal) Altered {
	a := Altered{LeaderEpoch: p.LeaderEpoch, PartitionEpoch: p.PartitionEpoch}
	switch {
	case p.LeaderEpoch > c.meta.LeaderEpoch || p.PartitionEpoch > c.meta.PartitionEpoch:
		a.Code = NotController
	case p.LeaderEpoch < c.meta.LeaderEpoch:
		a.Code = FencedLeaderEpoch
	case from != c.meta.Leader:
		a.Code = InvalidRequest
	case p.PartitionEpoch < c.meta.PartitionEpoch:
		a.Code = InvalidUpdateVersion
	}
	var isr []NodeID
	for _, m := range p.ISR {
		isr = append(isr, m.Node)
		if b := c.brokers[m.Node]; a.Code == None && (!b.alive || m.Epoch != -1 && m.Epoch != b.epoch) {
			a.Code = IneligibleReplica
		}
	}
	if a.Code == None {
		slices.Sort(isr)
		c.setISR(isr)
		c.meta.Recovering = false
		a.State = c.publish().meta
	}
	return a
}
