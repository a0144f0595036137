package kafkatest

import (
	"fmt"
	"maps"
	"time"

	"github.com/partlog/partlog/kafka"
	"github.com/partlog/partlog/partition"
)

// Option changes what New and Start make. Without any there is one broker on a loopback port of its own, in memory, with
// Kafka's defaults, but for the first rebalance of a group, which waits for nobody (group.initial.rebalance.delay.ms=0).
type Option func(*config)

// config is what the options say.
type config struct {
	brokers    int
	racks      []string
	topics     []topicSpec
	properties map[string]string
	users      []user
	tls        bool
	seed       uint64
	disk       diskKind
	dir        string
	memory     bool // the network is in memory
	frozen     *time.Time
	rules      []Rule
	explicit   []kafka.BrokerConfig
	server     kafka.Config
	store      *partition.Config
	image      *Snapshot
	callBytes  int
	persona    *Persona
}

type topicSpec struct {
	name   string
	config partition.TopicConfig
}

type user struct {
	name, password string
	mechanisms     []string
}

func newConfig(opts []Option) *config {
	c := &config{brokers: 1, seed: 1, callBytes: 4 << 20, properties: map[string]string{"group.initial.rebalance.delay.ms": "0"}}
	for _, o := range opts {
		o(c)
	}
	return c
}

// Brokers sets how many brokers there are; default 1. Their ids are 1, 2, and so on.
func Brokers(n int) Option { return func(c *config) { c.brokers = n } }

// Racks names the racks of the brokers, in the order of their ids; with fewer names than brokers they take turns.
func Racks(names ...string) Option { return func(c *config) { c.racks = names } }

// Topic makes a topic. settings are pairs of Kafka's names and values, such as "cleanup.policy", "compact".
func Topic(name string, partitions int32, settings ...string) Option {
	return func(c *config) {
		t := topicSpec{name, partition.TopicConfig{Partitions: partitions, Extra: map[string]string{}}}
		if len(settings)%2 != 0 {
			panic(fmt.Sprintf("BUG: kafkatest.Topic(%q): settings come in pairs", name))
		}
		for i := 0; i < len(settings); i += 2 {
			t.config.Extra[settings[i]] = settings[i+1]
		}
		c.topics = append(c.topics, t)
	}
}

// TopicConfig makes a topic with the settings of package partition.
func TopicConfig(name string, settings partition.TopicConfig) Option {
	return func(c *config) { c.topics = append(c.topics, topicSpec{name, settings}) }
}

// Property sets a property of all brokers by Kafka's name, as in server.properties.
func Property(name, value string) Option {
	return func(c *config) { c.properties[name] = value }
}

// Properties sets several properties of all brokers.
func Properties(all map[string]string) Option {
	return func(c *config) { maps.Copy(c.properties, all) }
}

// AutoCreate says whether topics are made when a client first asks for them (auto.create.topics.enable); default true, as in
// Kafka.
func AutoCreate(on bool) Option { return Property("auto.create.topics.enable", fmt.Sprint(on)) }

// User adds a user, and makes clients authenticate by SASL. mechanisms are PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512; without
// any it is all three.
func User(name, password string, mechanisms ...string) Option {
	return func(c *config) { c.users = append(c.users, user{name, password, mechanisms}) }
}

// TLS makes clients connect by TLS, with a certificate of a CA that is made for it: see Cluster.TLSConfig and Cluster.CA.
func TLS() Option { return func(c *config) { c.tls = true } }

// Seed sets what all that is random comes from: probabilities of rules, damaged bytes, what a power loss leaves, the places
// of replicas; default 1. Ids are drawn anew each time.
func Seed(seed uint64) Option { return func(c *config) { c.seed = seed } }

// FaultyDisk keeps the store on a disk in memory that remembers what has been synced, so that PowerLoss can take the rest. It
// costs more memory and time than the default, whose disk also fails on command and is crashed by Kill.
func FaultyDisk() Option { return func(c *config) { c.disk = diskFaulty } }

// Directory keeps the store in a directory of the machine, opening the store that is there, if there is one. It stays when
// the cluster is closed.
func Directory(dir string) Option { return func(c *config) { c.disk, c.dir = diskDirectory, dir } }

// MemoryNetwork has no sockets: brokers are named broker-1:9092, broker-2:9092, ..., and clients reach them by
// Cluster.Dialer. It is for testing/synctest, whose simulated time real sockets would hold up.
func MemoryNetwork() Option { return func(c *config) { c.memory = true } }

// Frozen has the brokers' time stand still at t but for Clock.Advance. Clients of other processes then depend on a test that
// steps it; by default time passes by itself, and Advance adds to it.
func Frozen(t time.Time) Option { return func(c *config) { c.frozen = &t } }

// Rules puts rules in force from the start.
func Rules(rules ...Rule) Option { return func(c *config) { c.rules = append(c.rules, rules...) } }

// Server sets what the options of this package do not: events, cluster id, versions served. Its Properties are added to
// those of Property. Intercept is called inside of the rules; Clock is ignored.
func Server(s kafka.Config) Option { return func(c *config) { c.server = s } }

// Store sets the configuration of the store; default what the properties say. Clock and FS are ignored.
func Store(s partition.Config) Option { return func(c *config) { c.store = &s } }

// Broker adds a broker that is described in full, with listeners that the caller has opened, in place of those of Brokers.
// The cluster closes them in the end.
func Broker(b kafka.BrokerConfig) Option {
	return func(c *config) { c.explicit = append(c.explicit, b) }
}

// CallBytes bounds the memory of the log of calls (Cluster.Calls), in bytes; default 4 MiB, 0 keeps none.
func CallBytes(n int) Option { return func(c *config) { c.callBytes = n } }
