package kafka

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/replication"
)

// threeNodes are the properties of one of three nodes, as a script writes them that starts Apache Kafka's.
const threeNodes = `process.roles=broker,controller
node.id=2
listeners=PLAINTEXT://127.0.0.1:9102,CONTROLLER://127.0.0.1:9103
advertised.listeners=PLAINTEXT://127.0.0.1:9102
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
controller.quorum.voters=1@127.0.0.1:9093,2@127.0.0.1:9103,3@127.0.0.1:9113
log.dirs=/two
default.replication.factor=3
min.insync.replicas=2
broker.rack=b
`

func quorumProperties(t testing.TB, more map[string]string) map[string]string {
	props, err := ReadProperties(strings.NewReader(threeNodes))
	require.NoError(t, err)
	maps.Copy(props, more)
	maps.DeleteFunc(props, func(_, v string) bool { return v == "-" })
	return props
}

func TestPropertiesThatNameAQuorumAreThoseOfANode(t *testing.T) {
	n, err := ParseNode(quorumProperties(t, map[string]string{
		"broker.session.timeout.ms": "3000", "broker.heartbeat.interval.ms": "300", "controller.quorum.election.timeout.ms": "700",
		"replica.lag.time.max.ms": "5000", "replica.fetch.wait.max.ms": "100", "replica.fetch.backoff.ms": "0", "leader.imbalance.check.interval.seconds": "60",
		"replica.fetch.response.max.bytes": "1000", "group.max.size": "7",
	}))
	require.NoError(t, err)
	require.Empty(t, n.Warnings)
	require.Equal(t, &Quorum{
		Voters: []replication.Peer{{NodeID: 1, Address: "127.0.0.1:9093"}, {NodeID: 2, Address: "127.0.0.1:9103"}, {NodeID: 3, Address: "127.0.0.1:9113"}},
		Bind:   "127.0.0.1:9103", Advertised: "127.0.0.1:9103",
	}, n.Quorum)
	require.Equal(t, []NodeListener{{Name: "PLAINTEXT", Bind: "127.0.0.1:9102", Advertised: "127.0.0.1:9102"}}, n.Listeners)
	c := n.ReplicationConfig(partition.SyncAlways)
	require.Equal(t, []replication.Peer{{NodeID: 1, Address: "127.0.0.1:9093"}, {NodeID: 3, Address: "127.0.0.1:9113"}}, c.Peers)
	require.Equal(t, int32(2), c.NodeID)
	require.Equal(t, "/two", c.Dir)
	require.Equal(t, "b", c.Rack)
	require.True(t, c.Plaintext)
	require.False(t, c.Bootstrap || c.Join || c.Observer)
	require.Equal(t, []time.Duration{3 * time.Second, 300 * time.Millisecond, 700 * time.Millisecond, 5 * time.Second, 100 * time.Millisecond, time.Millisecond, time.Minute},
		[]time.Duration{c.SessionTimeout, c.HeartbeatInterval, c.ElectionTimeout, c.LagTimeMax, c.FetchWait, c.FetchBackoff, c.PreferredInterval})
	require.Equal(t, 1000, c.FetchBytes)
	require.Equal(t, 7, c.Groups.MaxSize)
	require.Equal(t, int32(2), c.Store.Topics.MinInsyncReplicas)

	n, err = ParseNode(quorumProperties(t, map[string]string{"auto.leader.rebalance.enable": "false", "min.insync.replicas": "-"}))
	require.NoError(t, err)
	c = n.ReplicationConfig(partition.SyncAlways)
	require.Equal(t, time.Duration(partition.Unlimited), c.PreferredInterval)
	require.Zero(t, c.Store.Topics.MinInsyncReplicas, "the node's default, two of three")
	require.Zero(t, c.SessionTimeout, "the node's default")
}

func TestABrokerWithoutTheRoleControllerIsAnObserver(t *testing.T) {
	n, err := ParseNode(quorumProperties(t, map[string]string{"process.roles": "broker", "node.id": "7", "broker.id": "-"}))
	require.NoError(t, err)
	require.True(t, n.Quorum.Observer)
	require.Len(t, n.ReplicationConfig(partition.SyncAlways).Peers, 3)
	require.Equal(t, "127.0.0.1:9103", n.Quorum.Advertised)
}

func TestAControllerOnlyHasNoListenerForClients(t *testing.T) {
	for _, voters := range []string{"2@127.0.0.1:9103", "1@127.0.0.1:9093,2@127.0.0.1:9103"} {
		n, err := ParseNode(quorumProperties(t, map[string]string{
			"process.roles": "controller", "listeners": "CONTROLLER://127.0.0.1:9103", "advertised.listeners": "-", "inter.broker.listener.name": "-",
			"controller.quorum.voters": voters,
		}))
		require.NoError(t, err)
		require.True(t, n.Quorum.ControllerOnly)
		require.False(t, n.Quorum.Observer)
		require.Empty(t, n.Listeners)
		c := n.ReplicationConfig(partition.SyncAlways)
		require.True(t, c.ControllerOnly)
	}
}

func TestBootstrapServersArePeersWhoseIDsAreLearned(t *testing.T) {
	servers := map[string]string{"controller.quorum.voters": "-", "controller.quorum.bootstrap.servers": "127.0.0.1:9093,127.0.0.1:9103"}
	n, err := ParseNode(quorumProperties(t, servers))
	require.NoError(t, err)
	require.Equal(t, &Quorum{Servers: []string{"127.0.0.1:9093", "127.0.0.1:9103"}, Bind: "127.0.0.1:9103", Advertised: "127.0.0.1:9103"}, n.Quorum)
	c := n.ReplicationConfig(partition.SyncAlways)
	require.Empty(t, c.Peers)
	require.Equal(t, n.Quorum.Servers, c.Servers)

	// One that is not the node's own is another's.
	servers["controller.quorum.bootstrap.servers"] = "localhost:9093"
	n, err = ParseNode(quorumProperties(t, servers))
	require.NoError(t, err)
	require.Equal(t, []string{"localhost:9093"}, n.Quorum.Servers)
}

func TestAVoterByTheOperatorsWordAloneDoesNotJoinByItself(t *testing.T) {
	for value, observer := range map[string]bool{"false": true, "true": false} {
		n, err := ParseNode(quorumProperties(t, map[string]string{"controller.quorum.auto.join.enable": value}))
		require.NoError(t, err)
		require.Empty(t, n.Warnings)
		require.Equal(t, observer, n.Quorum.Observer)
		require.Equal(t, observer, n.ReplicationConfig(partition.SyncAlways).Observer)
	}
}

func TestAQuorumOfOneNodeIsNoCluster(t *testing.T) {
	for _, more := range []map[string]string{
		{"controller.quorum.voters": "2@127.0.0.1:9103"},
		{"controller.quorum.voters": "-"},
		{"controller.quorum.voters": "-", "controller.quorum.bootstrap.servers": "localhost:9103"},
	} {
		n, err := ParseNode(quorumProperties(t, more))
		require.NoError(t, err)
		require.Nil(t, n.Quorum)
	}
}

func TestWhatANodeOfAClusterCannotKeepIsAnErrorThatSaysWhy(t *testing.T) {
	for want, more := range map[string]map[string]string{
		"a node of a cluster needs one":           {"node.id": "-"},
		"must be among the voters":                {"node.id": "9"},
		"must not be among the voters":            {"process.roles": "broker"},
		"clients connect to brokers":              {"process.roles": "controller"},
		"serves no client":                        {"process.roles": "controller", "controller.quorum.voters": "-"},
		"want HOST:PORT,...":                      {"controller.quorum.bootstrap.servers": "127.0.0.1"},
		"of a:1 whoever reaches":                  {"controller.quorum.bootstrap.servers": "a:1"},
		"want true or false":                      {"controller.quorum.auto.join.enable": "perhaps"},
		"want ID@HOST:PORT":                       {"controller.quorum.voters": "1@a:1,2"},
		"each voter must have a different id":     {"controller.quorum.voters": "2@a:1,2@b:1"},
		"other nodes need a listener":             {"listeners": "PLAINTEXT://127.0.0.1:1"},
		"plaintext is for loopback addresses":     {"listeners": "PLAINTEXT://127.0.0.1:1,CONTROLLER://0.0.0.0:9103"},
		"of db.example:1 whoever reaches":         {"controller.quorum.voters": "2@127.0.0.1:9103,3@db.example:1"},
		"not by passwords":                        {"listener.security.protocol.map": "CONTROLLER:SASL_SSL,PLAINTEXT:PLAINTEXT"},
		"a TLS listener needs a key":              {"listener.security.protocol.map": "CONTROLLER:SSL,PLAINTEXT:PLAINTEXT"},
		"topic by topic":                          {"unclean.leader.election.enable": "true"},
		"must be at most half of":                 {"broker.session.timeout.ms": "3000", "broker.heartbeat.interval.ms": "2000"},
		"process.roles does not say that this is": {"process.roles": "-"},
	} {
		_, err := ParseNode(quorumProperties(t, more))
		require.ErrorContains(t, err, want)
		require.IsType(t, &PropertyError{}, err)
	}
	store, err := partition.OpenMemory(partition.Config{})
	require.NoError(t, err)
	defer store.Close()
	_, err = New(store, Config{Properties: quorumProperties(t, nil)})
	require.ErrorContains(t, err, "a store alone is no node of one")
}

func TestPeersOfANodeKnowEachOtherByTheCertificatesOfItsProperties(t *testing.T) {
	chain, key := selfSigned(t)
	file := filepath.Join(t.TempDir(), "store.pem")
	require.NoError(t, os.WriteFile(file, append(append([]byte{}, key...), chain...), 0o600))
	secured := map[string]string{
		"listeners":                      "PLAINTEXT://127.0.0.1:1,CONTROLLER://0.0.0.0:9103",
		"listener.security.protocol.map": "CONTROLLER:SSL,PLAINTEXT:PLAINTEXT",
		"controller.quorum.voters":       "1@a.example:9093,2@b.example:9093,3@c.example:9093",
		"ssl.keystore.type":              "PEM", "ssl.truststore.type": "PEM",
		"listener.name.controller.ssl.keystore.location": file,
	}
	_, err := ParseNode(quorumProperties(t, secured))
	require.ErrorContains(t, err, "a certificate of anybody would do")
	secured["ssl.truststore.location"] = file
	n, err := ParseNode(quorumProperties(t, secured))
	require.NoError(t, err)
	require.Equal(t, &replication.TLS{CertFile: file, KeyFile: file, CAFile: file}, n.Quorum.TLS)
	require.Equal(t, "b.example:9093", n.Quorum.Advertised)
	require.False(t, n.ReplicationConfig(partition.SyncAlways).Plaintext)

	delete(secured, "listener.name.controller.ssl.keystore.location")
	delete(secured, "ssl.truststore.location")
	secured["ssl.keystore.certificate.chain"], secured["ssl.keystore.key"], secured["ssl.truststore.certificates"] = string(chain), string(key), string(chain)
	n, err = ParseNode(quorumProperties(t, secured))
	require.NoError(t, err)
	require.NotNil(t, n.Quorum.TLS.Certificate)
	require.NotNil(t, n.Quorum.TLS.Roots)
}
