package kafka

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	saslscram "github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/partition"
)

// ConnectConfig says how a Cluster is reached. The zero value is a cluster without encryption and authentication, with the
// defaults of Kafka's clients. Names of Kafka's settings are in brackets.
type ConnectConfig struct {
	// ClientID names this program to the brokers, for their logs and quotas (client.id); default "partlog".
	ClientID string
	// Protocol is how connections are secured (security.protocol); default: what TLS and Mechanism say.
	Protocol SecurityProtocol
	// TLS is for the protocols with encryption (ssl.*): trusted authorities, own certificate. Nil with such a protocol
	// trusts the system's authorities. The server's name is that of the address, if there is none.
	TLS *tls.Config
	// Mechanism is PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512 (sasl.mechanism), with Username and Password
	// (sasl.jaas.config); default none.
	Mechanism, Username, Password string
	// RequestTimeout bounds the wait for an answer of a broker, and how long a request is tried again while brokers
	// cannot be reached or are changing places (request.timeout.ms); default 30 s.
	RequestTimeout time.Duration
	// MetadataMaxAge is after what time leaders are asked for anew, although nothing has changed (metadata.max.age.ms);
	// default 5 min.
	MetadataMaxAge time.Duration
	// HeartbeatInterval is how often members of classic groups tell that they live (heartbeat.interval.ms); default
	// 3 s, at most a third of the session timeout. A rebalance is noticed that late.
	HeartbeatInterval time.Duration
	// Rack is where this program runs (client.rack): records are fetched from a replica there, if the brokers choose so
	// (KIP-392); default none, which fetches from leaders.
	Rack string
	// ReplicationFactor is of topics that CreateTopic makes (default.replication.factor); default the brokers' default.
	ReplicationFactor int16
	// Dial opens connections; nil is net.Dialer's DialContext. TLS is laid over what it returns.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Clock is where waiting goes by; nil is the system's. Timeouts of connections are the system's in any case.
	Clock partition.Clock
}

func (c ConnectConfig) withDefaults() ConnectConfig {
	c.ClientID = cmp.Or(c.ClientID, "partlog")
	if c.Protocol == Plaintext {
		switch {
		case c.TLS != nil && c.Mechanism != "":
			c.Protocol = SASLTLS
		case c.TLS != nil:
			c.Protocol = TLS
		case c.Mechanism != "":
			c.Protocol = SASLPlaintext
		}
	}
	if c.Protocol.tls() && c.TLS == nil {
		c.TLS = new(tls.Config)
	}
	c.RequestTimeout = cmp.Or(c.RequestTimeout, 30*time.Second)
	c.MetadataMaxAge = cmp.Or(c.MetadataMaxAge, 5*time.Minute)
	c.HeartbeatInterval = cmp.Or(c.HeartbeatInterval, 3*time.Second)
	if c.ReplicationFactor == 0 {
		c.ReplicationFactor = -1
	}
	if c.Dial == nil {
		c.Dial = new(net.Dialer).DialContext
	}
	if c.Clock == nil {
		c.Clock = clock.System
	}
	return c
}

func (c ConnectConfig) validate() error {
	if c.Protocol < Plaintext || c.Protocol > SASLTLS {
		return &partition.ConfigError{Key: "security.protocol", Value: c.Protocol.String(), Range: "PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL"}
	}
	if !c.Protocol.tls() && c.TLS != nil {
		return &partition.ConfigError{Key: "security.protocol", Value: c.Protocol.String(), Range: "one with SSL, as there is a TLS configuration"}
	}
	if c.Protocol.sasl() {
		if _, err := c.mechanism(); err != nil {
			return err
		}
	} else if c.Mechanism != "" {
		return &partition.ConfigError{Key: "security.protocol", Value: c.Protocol.String(), Range: "one with SASL, as there is a mechanism"}
	}
	for _, d := range []struct {
		key string
		d   time.Duration
	}{{"request.timeout.ms", c.RequestTimeout}, {"metadata.max.age.ms", c.MetadataMaxAge}, {"heartbeat.interval.ms", c.HeartbeatInterval}} {
		if d.d < time.Millisecond {
			return &partition.ConfigError{Key: d.key, Value: d.d.String(), Range: "1ms or more"}
		}
	}
	if c.ReplicationFactor < -1 {
		return &partition.ConfigError{Key: "default.replication.factor", Value: fmt.Sprint(c.ReplicationFactor), Range: "1 or more"}
	}
	return nil
}

func (c ConnectConfig) mechanism() (sasl.Mechanism, error) {
	switch c.Mechanism {
	case "PLAIN":
		return plain.Auth{User: c.Username, Pass: c.Password}.AsMechanism(), nil
	case "SCRAM-SHA-256":
		return saslscram.Auth{User: c.Username, Pass: c.Password}.AsSha256Mechanism(), nil
	case "SCRAM-SHA-512":
		return saslscram.Auth{User: c.Username, Pass: c.Password}.AsSha512Mechanism(), nil
	}
	return nil, &partition.ConfigError{Key: "sasl.mechanism", Value: c.Mechanism, Range: "PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512"}
}

// Connect returns the cluster that the brokers at these addresses belong to: what producers, groups and consumers take
// instead of a *partition.Store. bootstrap is a list of host:port, with commas between (bootstrap.servers); one of them has
// to answer, and tells of all brokers. Cancelling ctx ends the attempt.
//
// Errors: *partition.ConfigError; *UnreachableError if no address answers; *BrokerError if brokers refuse, as for a wrong
// password; partition.ErrUnsupported for brokers that are too old (before Kafka 2.1); ctx's.
func Connect(ctx context.Context, bootstrap string, config ConnectConfig) (*Cluster, error) {
	c := config.withDefaults()
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("connect to %s: %w", bootstrap, err)
	}
	cluster := openCluster(c)
	for address := range strings.SplitSeq(bootstrap, ",") {
		if address = strings.TrimSpace(address); address != "" {
			cluster.addresses = append(cluster.addresses, address)
		}
	}
	if len(cluster.addresses) == 0 {
		err := &partition.ConfigError{Key: "bootstrap.servers", Value: bootstrap, Range: "host:port, several with commas between"}
		return nil, fmt.Errorf("connect: %w", err)
	}
	if err := cluster.begin(ctx); err != nil {
		_ = cluster.Close()
		return nil, fmt.Errorf("connect to %s: %w", strings.Join(cluster.addresses, ", "), err)
	}
	return cluster, nil
}

// begin makes the first connection and learns what the brokers can do.
func (c *Cluster) begin(ctx context.Context) error {
	probe, err := c.newClient(partition.AcksAll)
	if err != nil {
		return err
	}
	defer probe.Close()
	bounded, cancel := context.WithTimeout(ctx, c.config.RequestTimeout)
	defer cancel()
	if err := probe.Ping(bounded); err != nil {
		return c.failure(ctx, "ApiVersions", err)
	}
	answer, err := probe.Request(bounded, kmsg.NewPtrApiVersionsRequest())
	if err != nil {
		return c.failure(ctx, "ApiVersions", err)
	}
	versions := answer.(*kmsg.ApiVersionsResponse)
	for _, f := range versions.FinalizedFeatures {
		if f.Name == "transaction.version" {
			c.txnVersion = f.MaxVersionLevel
		}
	}
	if err := c.tooOld(versions); err != nil {
		return err
	}
	c.main, err = c.newClient(partition.AcksAll)
	return err
}

// tooOld refuses brokers without what all else rests on: batches of format 2 with leader epochs (KIP-320, Kafka 2.1).
func (c *Cluster) tooOld(versions *kmsg.ApiVersionsResponse) error {
	need := map[int16]int16{keyProduce: 7, keyFetch: 10, keyMetadata: 7}
	for _, k := range versions.ApiKeys {
		if k.MaxVersion >= need[k.ApiKey] {
			delete(need, k.ApiKey)
		}
	}
	if len(need) > 0 {
		return fmt.Errorf("%w: the brokers are older than Kafka 2.1", partition.ErrUnsupported)
	}
	return nil
}

// newClient makes a client of franz-go, which connects when it is first used. It is used for its connections, and for knowing
// brokers and coordinators; records do not go through it.
func (c *Cluster) newClient(acks partition.Acks) (*kgo.Client, error) {
	required := map[partition.Acks]kgo.Acks{partition.AcksAll: kgo.AllISRAcks(), partition.AcksLeader: kgo.LeaderAck(), partition.AcksNone: kgo.NoAck()}[acks]
	versions := kversion.Stable()
	versions.SetMaxKeyVersion(kmsg.OffsetCommit.Int16(), 9) // by the names of topics
	versions.SetMaxKeyVersion(kmsg.OffsetFetch.Int16(), 9)
	if c.txnVersion < 2 {
		versions.SetMaxKeyVersion(keyProduce, 11) // from 12 on a client promises to know transaction.version 2 (KIP-890)
		versions.SetMaxKeyVersion(kmsg.AddOffsetsToTxn.Int16(), 3)
		versions.SetMaxKeyVersion(kmsg.EndTxn.Int16(), 4)
		versions.SetMaxKeyVersion(kmsg.TxnOffsetCommit.Int16(), 4)
	}
	options := []kgo.Opt{
		kgo.SeedBrokers(c.addresses...), kgo.ClientID(c.config.ClientID), kgo.SoftwareNameAndVersion("partlog", "1"),
		kgo.RequiredAcks(required), kgo.DisableIdempotentWrite(), kgo.ProduceRequestTimeout(c.config.RequestTimeout),
		kgo.RequestTimeoutOverhead(c.config.RequestTimeout), kgo.RetryTimeout(c.config.RequestTimeout), kgo.RetryBackoffFn(retryPause),
		kgo.MetadataMaxAge(c.config.MetadataMaxAge), kgo.MetadataMinAge(min(c.config.MetadataMaxAge, 100*time.Millisecond)),
		kgo.MaxVersions(versions), kgo.DisableClientMetrics(), kgo.Rack(c.config.Rack),
		kgo.Dialer(c.dial),
	}
	if c.config.Protocol.sasl() {
		m, err := c.config.mechanism()
		if err != nil {
			return nil, err
		}
		options = append(options, kgo.SASL(m))
	}
	return kgo.NewClient(options...)
}

// retryPause is between attempts at a request: 100 ms, doubled up to 1 s (retry.backoff.ms, retry.backoff.max.ms).
func retryPause(attempt int) time.Duration {
	return min(100*time.Millisecond<<min(max(attempt-1, 0), 4), time.Second)
}

// dial opens a connection, with TLS over it if that is configured.
func (c *Cluster) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := c.config.Dial(ctx, network, address)
	if err != nil || !c.config.Protocol.tls() {
		return conn, err
	}
	config := c.config.TLS.Clone()
	if config.ServerName == "" {
		if host, _, err := net.SplitHostPort(address); err == nil {
			config.ServerName = host
		}
	}
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return secure, nil
}
