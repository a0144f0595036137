package replicationtest

import (
	"fmt"
	"time"

	"github.com/partlog/partlog/internal/control"
	"github.com/partlog/partlog/internal/mutant"
	"github.com/partlog/partlog/internal/replica"
	"github.com/partlog/partlog/internal/simulate"
	"github.com/partlog/partlog/log"
)

// nearFor is how long a reader stays with a near replica before it asks the leader again (metadata.max.age.ms).
const nearFor = 15 * time.Second

// drawNear says whether consumers of a cluster read from replicas in their own rack (KIP-392).
func drawNear(seed uint64) bool { return simulate.Stream(seed, "near").IntN(3) == 0 }

// rackOf is where a node stands, and a client of that number.
func rackOf(number int) string { return fmt.Sprintf("rack-%d", number%3) }

// nearer returns from where a reader in a rack had better read: a follower in its rack which is in sync and has the offset.
func (r *replicaState) nearer(rack string, offset int64) (int, bool) {
	if rack == "" {
		return 0, false
	}
	views := r.leader.ReadViews(nil)
	for i := range views {
		_, alive := r.l.Broker(views[i].Node)
		views[i].Rack, views[i].Alive = rackOf(int(views[i].Node)), alive
	}
	id, ok := replica.PreferredReadReplica(views, rack, offset)
	return int(id), ok
}

// serveNear answers a reader as a follower: up to the high watermark that it knows.
func (r *replicaState) serveNear(b consumeRequest, reply func(any)) {
	hint := r.l.hint(r.p)
	high := r.log.Visible()
	switch {
	case b.epoch > r.follower.Epoch():
		reply(consumeAnswer{code: replica.UnknownLeaderEpoch, hint: hint})
	case b.epoch < r.follower.Epoch():
		reply(consumeAnswer{code: replica.FencedLeaderEpoch, hint: hint})
	case b.offset < int64(r.log.Start()), b.offset > int64(r.log.End()):
		reply(consumeAnswer{code: replica.OffsetOutOfRange, start: -1, hint: hint}) // only the leader says where the log begins
	case b.offset >= int64(high) && mutant.On(mutant.NearReadAboveHighWatermark):
		v, err := r.log.ReadReplica(log.Offset(b.offset), 64<<10)
		r.answerReader(v, nil, err, reply)
	case b.offset > int64(high): // KIP-392 has OFFSET_NOT_AVAILABLE; brokers answer with nothing
		r.l.c.seen.Add("near replica behind", 1)
		reply(consumeAnswer{hint: hint})
	default:
		v, aborted, err := r.log.ReadCommitted(nil, log.Offset(b.offset), high, 64<<10)
		if r.answerReader(v, aborted, err, reply) && err == nil {
			r.l.c.seen.Add("read from a follower", 1)
		}
	}
}

// near is where a reader reads: a follower near to it, for a while.
type near struct {
	node  int
	until time.Duration
}

// source is whom to ask for a partition.
func (x *client) source(part int, n near) (to int, isNear, known bool) {
	if x.clock.Elapsed() < n.until {
		return n.node, true, true
	}
	to, known = x.leader(part)
	return to, false, known
}

// strayed takes the answer of a near replica that did not serve, and reports whether to go back to the leader. Nothing it says of where the log begins
// or ends is believed.
func (x *client) strayed(a consumeAnswer, ok bool) bool {
	if ok && a.code == control.OK {
		return false
	}
	x.c.seen.Add("near replica left", 1)
	return true
}
