package kafka

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/replication"
)

// nodeView is the cluster as the node knows it whose store is served: brokers, and where partitions are. It takes the place of layout, whose
// leaders, replicas and in-sync replicas are here the node's, and real. What it hands out is never changed, and made again
// when the node's metadata has changed.
type nodeView struct {
	node *replication.Node
	own  atomic.Pointer[Broker] // nil until AddBroker

	mu      sync.RWMutex // guards all below
	version uint64       // of the node's metadata, of which the rest is
	members []*Broker
	topics  map[partition.TopicID]*placement
}

// ServeNode puts a node of a cluster behind Kafka's protocol on l, as the broker of the node's id, and returns at once. Where clients find it, and the
// brokers of other nodes, is what the nodes have registered: replication.Config.Listeners of this one has to name the address of l
// under the name of the listener, PLAINTEXT. Close ends it, and closes l; the node stays the caller's, who closes it afterwards.
func ServeNode(l net.Listener, node *replication.Node, c Config) (*Server, error) {
	s, err := NewOfNode(node, c)
	if err != nil {
		return nil, err
	}
	if _, err := s.AddBroker(BrokerConfig{ID: node.NodeID(), Listeners: []ListenerConfig{{Listener: l}}}); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// NewOfNode makes a server of a node's store, without a broker; AddBroker opens the node's, with its id, and no other. Partitions and coordinators
// that other nodes lead are theirs: clients are sent there. The coordinator's settings are those of replication.Config.Groups, whatever Config.Properties
// say of groups; Node.ReplicationConfig makes them of properties. Dynamic configurations of brokers (AlterConfigs) that another node's server was asked to
// change are in force here once this node has applied the change. The node stays the caller's, who closes it after the server.
//
// Errors: *partition.ConfigError, also for a node that is a controller only (replication.Config.ControllerOnly), as there is nothing for clients to connect to.
func NewOfNode(node *replication.Node, c Config) (*Server, error) {
	if node == nil {
		return nil, &partition.ConfigError{Key: "node", Value: "nil", Range: "a node"}
	}
	if node.ControllerOnly() {
		return nil, &partition.ConfigError{Key: "node", Value: fmt.Sprintf("node %d, which is a controller only", node.NodeID()), Range: "a broker: clients connect to no other"}
	}
	return newServer(node.Store(), node, c)
}

// refresh brings the view up to date, and returns with mu held for reading.
func (v *nodeView) refresh() {
	version := v.node.MetadataVersion()
	v.mu.RLock()
	if v.version == version && v.topics != nil {
		return
	}
	v.mu.RUnlock()
	v.mu.Lock()
	if v.version != version || v.topics == nil {
		v.version, v.topics, v.members = version, map[partition.TopicID]*placement{}, nil
	}
	v.mu.Unlock()
	v.mu.RLock()
}

// brokers returns the registered nodes as brokers, by id. One that does not run is fenced.
func (v *nodeView) brokers() []*Broker {
	v.refresh()
	all, version := v.members, v.version
	v.mu.RUnlock()
	if all != nil {
		return all
	}
	nodes, err := v.node.DescribeCluster(context.Background())
	if err != nil {
		return nil // the node is closed
	}
	own := v.own.Load()
	for _, n := range nodes {
		if n.ControllerOnly {
			continue
		}
		if own != nil && n.NodeID == own.id {
			all = append(all, own)
			continue
		}
		b := &Broker{id: n.NodeID}
		if n.Rack != "" {
			b.rack = &n.Rack
		}
		for _, l := range n.Listeners {
			b.listeners = append(b.listeners, &listener{broker: b, name: l.Name, host: l.Host, port: int32(l.Port)})
		}
		b.running.Store(!n.Fenced)
		all = append(all, b)
	}
	if own != nil && !slices.Contains(all, own) {
		all = append(all, own)
	}
	slices.SortFunc(all, func(a, b *Broker) int { return int(a.id) - int(b.id) })
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.version == version {
		v.members = all
	}
	return all
}

// of returns where the partitions of a topic are. The topic may have been deleted meanwhile; then nobody leads them.
func (v *nodeView) of(t *partition.Topic) *placement {
	v.refresh()
	p, version := v.topics[t.ID()], v.version
	v.mu.RUnlock()
	if p != nil && len(p.partitions) >= int(t.Partitions()) {
		return p
	}
	p = &placement{name: t.Name(), partitions: make([]placed, t.Partitions())}
	for i := range p.partitions {
		p.partitions[i] = placed{leader: -1, epoch: -1}
	}
	parts, err := v.node.PartitionsOf(context.Background(), t.Name())
	if err != nil {
		return p
	}
	for i, at := range parts {
		if at.TopicID == t.ID() && i < len(p.partitions) {
			p.partitions[i] = placed{
				leader: at.Leader, epoch: int32(at.LeaderEpoch), replicas: at.Replicas, isr: at.ISR,
				elr: at.ELR, lastKnownELR: at.LastKnownELR, adding: at.Adding, removing: at.Removing,
			}
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.version == version {
		v.topics[t.ID()] = p
	}
	return p
}

// controller is the broker that clients send changes to: every one passes them on, so it is this one unless the active controller is known.
func (v *nodeView) controller() int32 {
	for _, n := range v.nodes() {
		if n.Controller && !n.Fenced {
			return n.NodeID
		}
	}
	return v.node.NodeID()
}

func (v *nodeView) nodes() []replication.NodeInfo {
	nodes, err := v.node.DescribeCluster(context.Background())
	if err != nil {
		return nil
	}
	return nodes
}

// elect has one leader elected.
func (v *nodeView) elect(ctx context.Context, tp partition.TopicPartition, unclean bool) error {
	errs, err := v.node.Elect(ctx, unclean, tp)
	if err == nil {
		err = errs[tp]
	}
	return err
}

// move makes a broker the leader of a partition, and waits until it is that here. The others are asked to elect the preferred replica, which is this one for a
// moment: the order of the replicas is then as before, with a new one at its end.
func (v *nodeView) move(ctx context.Context, tp partition.TopicPartition, broker int32) error {
	at, err := v.find(ctx, tp)
	if err != nil || at.Leader == broker {
		return err
	}
	order := at.Replicas
	if !slices.Contains(order, broker) {
		order = append(order, broker)
	}
	others := slices.DeleteFunc(slices.Clone(order), func(id int32) bool { return id == broker })
	if err := v.reassign(ctx, tp, append([]int32{broker}, others...)); err != nil {
		return err
	}
	err = v.await(ctx, tp, func(at replication.PartitionInfo) bool {
		return at.Replicas[0] == broker && len(at.Adding)+len(at.Removing) == 0 && slices.Contains(at.ISR, broker)
	})
	if err == nil {
		if err = v.elect(ctx, tp, false); errors.Is(err, replication.ErrElectionNotNeeded) {
			err = nil
		}
	}
	if err == nil {
		err = v.await(ctx, tp, func(at replication.PartitionInfo) bool { return at.Leader == broker })
	}
	if order[0] != broker {
		err = errors.Join(err, v.reassign(ctx, tp, order))
	}
	return err
}

// await waits until a condition holds for a partition as the node knows it.
func (v *nodeView) await(ctx context.Context, tp partition.TopicPartition, holds func(replication.PartitionInfo) bool) error {
	for {
		changed := v.node.MetadataChanged()
		at, err := v.find(ctx, tp)
		if err != nil || holds(at) {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// find returns what the node knows of one partition.
func (v *nodeView) find(ctx context.Context, tp partition.TopicPartition) (replication.PartitionInfo, error) {
	all, err := v.node.PartitionsOf(ctx, tp.Topic)
	if err != nil {
		return replication.PartitionInfo{}, err
	}
	for _, p := range all {
		if p.Partition == tp.Partition {
			return p, nil
		}
	}
	return replication.PartitionInfo{}, fmt.Errorf("%v: %w", tp, partition.ErrUnknownTopicOrPartition)
}

// reassign gives a partition other replicas; nil cancels.
func (v *nodeView) reassign(ctx context.Context, tp partition.TopicPartition, replicas []int32) error {
	errs, err := v.node.Reassign(ctx, map[partition.TopicPartition][]int32{tp: replicas})
	if err == nil {
		err = errs[tp]
	}
	return err
}

// describeQuorum fills in what the quorum's leader says of its members.
func (v *nodeView) describeQuorum(ctx context.Context, r *kmsg.DescribeQuorumResponseTopicPartition) error {
	q, err := v.node.DescribeQuorum(ctx)
	if err != nil {
		return err
	}
	directories := map[int32][16]byte{}
	for _, n := range v.nodes() {
		directories[n.NodeID] = n.DirectoryID
	}
	now := v.node.Store().Clock().Now()
	members := func(list []replication.QuorumMember) (out []kmsg.DescribeQuorumResponseTopicPartitionReplicaState) {
		at := func(ago time.Duration) int64 {
			if ago < 0 {
				return -1
			}
			return now.Add(-ago).UnixMilli()
		}
		for _, m := range list {
			one := kmsg.NewDescribeQuorumResponseTopicPartitionReplicaState()
			one.ReplicaID, one.LogEndOffset = m.NodeID, int64(m.LogEnd)
			one.ReplicaDirectoryID = directories[m.NodeID]
			one.LastFetchTimestamp, one.LastCaughtUpTimestamp = at(m.LastHeard), at(m.LastCaughtUp)
			out = append(out, one)
		}
		return out
	}
	r.LeaderID, r.LeaderEpoch, r.HighWatermark = q.Leader, int32(q.Term), int64(q.HighWatermark)
	r.CurrentVoters, r.Observers = members(q.Voters), members(q.Observers)
	return nil
}

// checkFeature says why the cluster cannot have a feature level, in the words of UpdateFeatures.
func (v *nodeView) checkFeature(ctx context.Context, level int16) error {
	err := v.node.CheckFeatureLevel(ctx, level)
	if errors.Is(err, replication.ErrInvalidUpdateVersion) {
		return refusal(codeInvalidUpdateVersion, fmt.Sprintf("Invalid update version %d for feature %s. %v", level, partlogVersion, err))
	}
	return err
}

// addNode is AddBroker of a node's server: its own broker, once. The caller holds mu.
func (s *Server) addNode(c BrokerConfig) (*Broker, error) {
	id := s.node.node.NodeID()
	if c.ID != id && c.ID != 0 {
		return nil, &partition.ConfigError{Key: "node.id", Value: strconv.Itoa(int(c.ID)), Range: strconv.Itoa(int(id)) + ", the node's"}
	}
	if len(s.ownBrokers()) > 0 {
		return nil, fmt.Errorf("%w: %d", ErrBrokerIDInUse, id)
	}
	c.ID = id
	for _, n := range s.node.nodes() {
		if n.NodeID == id {
			c.Rack = n.Rack
		}
	}
	b, err := s.newBroker(c)
	if err != nil {
		return nil, err
	}
	b.running.Store(true)
	s.members.Store(&[]*Broker{b})
	s.node.own.Store(b)
	s.node.forget()
	if err = s.admin.alter.take(s.life); err == nil {
		err = s.refresh(s.life) // the broker has configurations of its own
		s.admin.alter.give()
	}
	if err != nil {
		s.drop(b)
		s.node.own.Store(nil)
		return nil, err
	}
	s.work.Go(func() { s.followConfigs(s.life) })
	b.serve()
	return b, nil
}

// forget has everything asked for again.
func (v *nodeView) forget() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.topics = nil
}

// defaultFactor is default.replication.factor; on a node where nobody has set it, the node's own default.
func (s *Server) defaultFactor(set *settings) int16 {
	if _, chosen := set.properties["default.replication.factor"]; s.node == nil || chosen {
		return set.replicationFactor
	}
	return min(3, int16(len(s.brokers())))
}

// replicaEpochEnd returns where a leader epoch ends: on a node that follows the partition, in its own log.
func (s *session) replicaEpochEnd(ctx context.Context, tp partition.TopicPartition, at placed, epoch partition.LeaderEpoch) (partition.LeaderEpoch, partition.Offset, error) {
	if s.server.node == nil || at.leader == s.broker.id {
		return s.server.store.EpochEnd(ctx, tp, epoch)
	}
	r, err := s.server.store.Replica(tp, partition.TopicID{})
	if err != nil {
		return -1, -1, err
	}
	return r.EpochEnd(epoch)
}

// electionOutcome is what ElectLeaders says of a partition on a node.
func (s *session) electionOutcome(c *call, err error) (int16, string) {
	if err == nil {
		return codeNone, ""
	}
	code := errorCode(err, c.key, c.version)
	if code == codeElectionNotNeeded {
		return code, standardTexts[code]
	}
	return code, err.Error()
}

// nodeErrors are the sentinels of package replication.
var nodeErrors = []struct {
	err  error
	code int16
}{
	{group.ErrCoordinatorNotAvailable, codeCoordinatorNotAvailable}, // whatever the reason is: clients look for the coordinator again
	{replication.ErrElectionNotNeeded, codeElectionNotNeeded},
	{replication.ErrPreferredLeaderNotAvailable, codePreferredLeaderNotAvailable},
	{replication.ErrEligibleLeadersNotAvailable, codeEligibleLeadersNotAvailable},
	{replication.ErrNoReassignmentInProgress, codeNoReassignmentInProgress},
	{replication.ErrReassignmentInProgress, codeReassignmentInProgress},
	{replication.ErrInvalidReplicaAssignment, codeInvalidReplicaAssignment},
	{replication.ErrUnknownNode, codeBrokerIDNotRegistered},
	{replication.ErrInvalidUpdateVersion, codeInvalidUpdateVersion},
	{replication.ErrNotController, codeNotController},
	{replication.ErrNoQuorum, codeRequestTimedOut}, // as a broker says whose controller does not answer
	{replication.ErrLeaderNotAvailable, codeLeaderNotAvailable},
	{replication.ErrNodeNotAvailable, codeRequestTimedOut},
}
