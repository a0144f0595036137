package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/partition"
)

// Cluster is a cluster of Kafka brokers, Apache Kafka's or a Server's, as producers, groups and consumers need it: made by
// Connect, it takes the place of a *partition.Store in producer.New, group.Open and consumer.Assign. Batching, sequences,
// decoding and the member's part in a group are the same code as with a store; what goes over the seam are whole batches and
// the group calls. Errors are the store's sentinels where Kafka has the same, and *BrokerError in any case.
//
// What differs from a store, as a cluster differs:
//
//   - What acks=all promises is what the topic's min.insync.replicas says; brokers do not sync their disks for it.
//   - acks=0 has no answer: the result's offsets are −1. AppendResult.Duplicate is never set, as brokers do not tell.
//   - FetchRequest.MinBytes is each broker's. The bytes of results are the caller's; leases hold nothing.
//   - A Membership.ClientID is the connection's. Members of this process are members as any other: they send heartbeats, and are
//     missed after their session timeout. A rebalance is noticed at the next heartbeat.
//   - AppendRequest.Expect, TopicConfig.KeyIndex and whatever else no broker has is partition.ErrUnsupported. ReadKey, Compact,
//     Snapshot, Import, Verify, Settings and the like are a store's and are not here.
//   - Stats of the coordinator are zero: it is elsewhere.
//
// All methods may be called by any number of goroutines.
type Cluster struct {
	config     ConnectConfig
	addresses  []string
	txnVersion int16 // transaction.version that the cluster has finalized

	life context.Context // ends with Close
	end  context.CancelFunc
	work sync.WaitGroup // requests in the background

	main  *kgo.Client // all requests but those of the others; its Produce has acks=all
	lanes lanes       // connections for what waits long: fetches, joins
	topics
	sends
	fetches
	txns

	mu      sync.Mutex // guards what follows
	weak    map[partition.Acks]*kgo.Client
	closing bool
	closed  chan struct{} // closed when Close has finished
}

func openCluster(c ConnectConfig) *Cluster {
	cluster := &Cluster{config: c, weak: make(map[partition.Acks]*kgo.Client), closed: make(chan struct{})}
	cluster.life, cluster.end = context.WithCancel(context.Background())
	cluster.lanes.open = func() (*kgo.Client, error) { return cluster.newClient(partition.AcksAll) }
	cluster.topics.known = make(map[string]*topicKnown)
	cluster.sends.queues = make(map[sendKey]*sendQueue)
	cluster.fetches.parked = make(map[string]*fetching)
	cluster.txns.open = make(map[string]*clusterTxn)
	return cluster
}

// Close ends all connections and waits for what goes on in the background. Whoever waits gets partition.ErrClosed. Producers
// and consumers are to be closed before, as before a store. It may be called twice.
func (c *Cluster) Close() error {
	c.mu.Lock()
	if c.closing {
		c.mu.Unlock()
		<-c.closed
		return nil
	}
	c.closing = true
	weak := c.weak
	c.mu.Unlock()
	c.end()
	for _, client := range weak {
		client.Close()
	}
	if c.main != nil {
		c.main.Close()
	}
	c.lanes.close()
	c.work.Wait()
	close(c.closed)
	return nil
}

// background runs f unless the cluster is closed, and reports whether it does.
func (c *Cluster) background(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing {
		return false
	}
	c.work.Go(f)
	return true
}

// alive is why no request can be made: ctx's error, or partition.ErrClosed.
func (c *Cluster) alive(ctx context.Context) error {
	if c.life.Err() != nil {
		return partition.ErrClosed
	}
	return ctx.Err()
}

// with returns a context that ends with ctx and with Close.
func (c *Cluster) with(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(c.life, cancel)
	return ctx, func() {
		stop()
		cancel()
	}
}

// request sends a request to whomever it is for: any broker, the controller, a coordinator, or leaders. It is repeated while
// brokers cannot be reached or change places, for RequestTimeout.
func request[R kmsg.Response](ctx context.Context, c *Cluster, req kmsg.Request) (R, error) {
	return requestBy[R](ctx, c, c.main, req)
}

func requestBy[R kmsg.Response](ctx context.Context, c *Cluster, client *kgo.Client, req kmsg.Request) (none R, err error) {
	if err := c.alive(ctx); err != nil {
		return none, err
	}
	inner, done := c.with(ctx)
	defer done()
	resp, err := client.Request(inner, req)
	if err != nil {
		return none, c.failure(ctx, kmsg.NameForKey(req.Key()), err)
	}
	return resp.(R), nil
}

// failure is what an error of franz-go means to the caller with ctx.
func (c *Cluster) failure(ctx context.Context, api string, err error) error {
	if c.life.Err() != nil {
		return partition.ErrClosed
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(err, kgo.ErrClientClosed) {
		return partition.ErrClosed
	}
	if code, ok := codeOf(err); ok {
		return brokerError(api, code, nil)
	}
	if isTooOld(err) {
		return fmt.Errorf("%w: the brokers do not know %s, or not in a version that is known here: %w", partition.ErrUnsupported, api, err)
	}
	return &UnreachableError{Addresses: c.addresses, API: api, Err: err}
}

// pause waits for d, or until ctx or the cluster ends.
func (c *Cluster) pause(ctx context.Context, d time.Duration) error {
	over := make(chan struct{})
	defer c.config.Clock.AfterFunc(d, func() { close(over) })()
	select {
	case <-over:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-c.life.Done():
		return partition.ErrClosed
	}
}

// Service returns the cluster's own service "group", whose coordinators are the brokers; start is not called. Other
// names are partition.ErrUnsupported.
func (c *Cluster) Service(name string, _ func() (io.Closer, error)) (io.Closer, error) {
	if err := c.alive(context.Background()); err != nil {
		return nil, err
	}
	if name != "group" {
		return nil, fmt.Errorf("service %q: %w by a cluster", name, partition.ErrUnsupported)
	}
	return &remoteCoordinators{c}, nil
}

// lanes are clients with connections of their own for requests that wait long, one request at a time each: a broker
// answers the requests of a connection in their order, so that one that waits holds up those behind it.
type lanes struct {
	open func() (*kgo.Client, error)

	mu     sync.Mutex // guards what follows
	idle   []*kgo.Client
	used   map[*kgo.Client]bool
	closed bool
}

// maxIdleLanes bounds the connections that are kept for the next request.
const maxIdleLanes = 16

func (l *lanes) take() (*kgo.Client, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, partition.ErrClosed
	}
	if l.used == nil {
		l.used = make(map[*kgo.Client]bool)
	}
	if n := len(l.idle); n > 0 {
		client := l.idle[n-1]
		l.idle = l.idle[:n-1]
		l.used[client] = true
		return client, nil
	}
	client, err := l.open()
	if err == nil {
		l.used[client] = true
	}
	return client, err
}

// give takes a client back. One whose request was given up is closed: its broker may still be at it.
func (l *lanes) give(client *kgo.Client, answered bool) {
	l.mu.Lock()
	delete(l.used, client)
	keep := answered && !l.closed && len(l.idle) < maxIdleLanes
	if keep {
		l.idle = append(l.idle, client)
	}
	l.mu.Unlock()
	if !keep {
		client.Close()
	}
}

func (l *lanes) close() {
	l.mu.Lock()
	l.closed = true
	idle := l.idle
	l.idle = nil
	for client := range l.used {
		idle = append(idle, client)
	}
	l.mu.Unlock()
	for _, client := range idle {
		client.Close()
	}
}
