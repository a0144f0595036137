package kafka

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/producer"
)

// Where brokers choose replicas by racks, records come from the one in the client's (KIP-392), and from the leader when its
// broker has stopped; a client without a rack, or of one where nobody is, reads from the leader alone.
func TestRecordsAreFetchedFromTheReplicaInTheRackOfTheClient(t *testing.T) {
	store, err := partition.OpenMemory(partition.Config{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	var mu sync.Mutex
	served := map[string]map[int32]bool{} // brokers that have given records away, by client
	server, err := New(store, Config{
		Properties: map[string]string{"replica.selector.class": rackAware},
		Intercept: func(c *Call, next func() Answer) Answer {
			a := next()
			resp, ok := a.Response.(*kmsg.FetchResponse)
			for i := 0; ok && i < len(resp.Topics); i++ {
				if len(resp.Topics[i].Partitions) > 0 && len(resp.Topics[i].Partitions[0].RecordBatches) > 0 {
					mu.Lock()
					if served[c.ClientID] == nil {
						served[c.ClientID] = map[int32]bool{}
					}
					served[c.ClientID][c.Broker] = true
					mu.Unlock()
				}
			}
			return a
		},
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, server.Close()) })
	addr := ""
	for _, rack := range []string{"a", "b", "c"} {
		l := listen(t)
		_, err := server.AddBroker(BrokerConfig{Rack: rack, Listeners: []ListenerConfig{{Listener: l}}})
		require.NoError(t, err)
		addr = l.Addr().String()
	}
	ctx := eventually(t)
	_, err = server.CreateTopic(ctx, NewTopic{Name: "t", Partitions: 1, ReplicationFactor: 3})
	require.NoError(t, err)
	tp := partition.TopicPartition{Topic: "t"}
	require.NoError(t, server.MoveLeader(ctx, tp, 1))

	writer := connect(t, addr, ConnectConfig{ClientID: "writer"})
	p, err := producer.New(writer, producer.Config{})
	require.NoError(t, err)
	for i := range 20 {
		_, err := p.Send(ctx, producer.Record{Topic: "t", Partition: producer.To(0), Value: fmt.Append(nil, i)})
		require.NoError(t, err)
	}
	require.NoError(t, p.Close())
	read := func(cluster *Cluster) {
		c, err := consumer.Assign(ctx, cluster, []consumer.Assignment{{TopicPartition: tp, Until: consumer.UntilEnd()}}, consumer.Config{})
		require.NoError(t, err)
		n := 0
		for r, err := range c.Records(ctx) {
			require.NoError(t, err)
			require.Equal(t, fmt.Sprint(n), string(r.Value))
			n++
		}
		require.Equal(t, 20, n, "rack %q", cluster.config.Rack)
		require.NoError(t, c.Close())
	}
	from := func(client string) map[int32]bool {
		mu.Lock()
		defer mu.Unlock()
		s := served[client]
		delete(served, client)
		return s
	}
	for rack, want := range map[string]int32{"a": 1, "b": 2, "c": 3, "d": 1, "": 1} {
		cluster := connect(t, addr, ConnectConfig{ClientID: "reader", Rack: rack})
		read(cluster)
		require.Equal(t, map[int32]bool{want: true}, from("reader"), "rack %q", rack)
		if rack != "b" {
			continue
		}
		second := server.brokerByID(2)
		require.NoError(t, second.Stop())
		read(cluster)
		require.NotContains(t, from("reader"), int32(2))
		require.NoError(t, second.Start())
	}
}

// The calls of the new protocol (KIP-848) over a cluster: members join, get partitions from the brokers, hand them over to one
// another, and leave; also while the coordinator moves to another broker. What is wrong has the errors of a store's coordinator.
func TestMembersOfTheNewProtocolOverACluster(t *testing.T) {
	addr := *oracle
	var server *Server
	if addr == "" {
		server, addr = serving(t, 3)
	}
	ctx := eventually(t)
	cluster := connect(t, addr, ConnectConfig{})
	fresh(t, cluster, "nextgen", 4)
	found, err := cluster.Metadata(ctx, []string{"nextgen"})
	require.NoError(t, err)
	name := fmt.Sprint("nextgen-", found[0].ID) // a group of its own, also at a broker that was here before
	coordinator, err := (&remoteCoordinators{cluster}).Find(ctx, name)
	require.NoError(t, err)
	beat := func(member string, epoch group.MemberEpoch, owned []group.TopicIDPartitions) (group.ConsumerHeartbeatResult, error) {
		r := group.ConsumerHeartbeatRequest{Group: name, MemberID: member, MemberEpoch: epoch, Owned: owned}
		if epoch == group.JoinGroupEpoch {
			r.RebalanceTimeout, r.Topics, r.Owned = 10*time.Minute, []string{"nextgen"}, []group.TopicIDPartitions{}
		}
		for {
			result, err := coordinator.ConsumerGroupHeartbeat(ctx, r)
			if !errors.Is(err, group.ErrCoordinatorNotAvailable) {
				return result, err
			}
		}
	}
	_, err = beat("first", 7, nil)
	require.ErrorIs(t, err, group.ErrGroupIDNotFound)

	// A member goes on until it has what it is to have, and has said so.
	type member struct {
		id    string
		epoch group.MemberEpoch
		owned []group.TopicIDPartitions
	}
	step := func(m *member) {
		result, err := beat(m.id, m.epoch, m.owned)
		require.NoError(t, err)
		require.Equal(t, m.id, result.MemberID)
		if m.epoch = result.MemberEpoch; result.Assignment != nil {
			m.owned = result.Assignment
		}
	}
	count := func(m *member) (n int) {
		for _, o := range m.owned {
			require.Equal(t, found[0].ID, o.TopicID)
			n += len(o.Partitions)
		}
		return n
	}
	first, second := &member{id: "first"}, &member{id: "second"}
	for step(first); count(first) < 4; step(first) {
	}
	if server != nil {
		for _, b := range server.Brokers() {
			require.NoError(t, server.MoveCoordinator(ctx, false, name, b.ID()))
			step(first)
			require.Equal(t, 4, count(first), "what a member has stays its own")
		}
	}
	for step(second); count(first) != 2 || count(second) != 2; step(second) {
		step(first)
	}
	described, err := coordinator.ConsumerGroupDescribe(ctx, name)
	require.NoError(t, err)
	require.Len(t, described.Members, 2)
	require.Equal(t, []string{"first", "second"}, []string{described.Members[0].MemberID, described.Members[1].MemberID})
	_, err = beat("first", first.epoch+9, nil)
	require.ErrorIs(t, err, group.ErrFencedMemberEpoch)
	_, err = beat("nobody", 3, nil)
	require.ErrorIs(t, err, group.ErrUnknownMemberID)
	result, err := beat("second", group.LeaveGroupEpoch, nil)
	require.NoError(t, err)
	require.Equal(t, group.LeaveGroupEpoch, result.MemberEpoch)
	for step(first); count(first) < 4; step(first) {
	}
	_, err = beat("first", group.LeaveGroupEpoch, nil)
	require.NoError(t, err)
}
