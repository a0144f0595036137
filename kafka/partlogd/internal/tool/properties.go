package tool

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// ignored are properties of a Java client that change nothing here.
var ignored = []string{
	"bootstrap.servers", "key.serializer", "value.serializer", "key.deserializer", "value.deserializer", "metric.reporters",
	"enable.auto.commit", "auto.commit.interval.ms", "max.poll.records", "max.poll.interval.ms", "send.buffer.bytes", "receive.buffer.bytes",
	"default.api.timeout.ms", "auto.include.jmx.reporter", "enable.metrics.push", "client.dns.lookup", "max.block.ms",
	"sasl.mechanism", "sasl.jaas.config", "ssl.truststore.type", "ssl.truststore.location", "ssl.truststore.certificates", "ssl.keystore.type",
	"ssl.keystore.location", "ssl.keystore.key", "ssl.keystore.certificate.chain", "ssl.endpoint.identification.algorithm", "ssl.protocol", "ssl.enabled.protocols",
	"ssl.truststore.password", "ssl.keystore.password", "ssl.key.password", "check.crcs",
}

// clientOptions turns properties of a Java client, producer or consumer into options of franz-go.
func clientOptions(props pairs) (opts []kgo.Opt, err error) {
	for _, name := range slices.Sorted(maps.Keys(props)) {
		v := strings.TrimSpace(props[name])
		if slices.Contains(ignored, name) {
			continue
		}
		read, known := clientProperties[name]
		if !known {
			return nil, fmt.Errorf("property %s is not known here", name)
		}
		more, err := read(v)
		if err != nil {
			return nil, fmt.Errorf("property %s=%s: %w", name, v, err)
		}
		opts = append(opts, more...)
	}
	secure, err := securityOptions(props)
	return append(opts, secure...), err
}

// clientProperties are the properties that have an option.
var clientProperties = map[string]func(string) ([]kgo.Opt, error){
	"client.id":               text(kgo.ClientID),
	"client.rack":             text(func(s string) kgo.ConsumerOpt { return kgo.Rack(s) }),
	"group.id":                text(func(s string) kgo.GroupOpt { return kgo.ConsumerGroup(s) }),
	"acks":                    acksOption,
	"linger.ms":               millis(kgo.ProducerLinger),
	"metadata.max.age.ms":     millis(kgo.MetadataMaxAge),
	"connections.max.idle.ms": millis(kgo.ConnIdleTimeout),
	"request.timeout.ms":      millis(kgo.RequestTimeoutOverhead),
	"delivery.timeout.ms":     millis(kgo.RecordDeliveryTimeout),
	"batch.size":              number(func(n int32) kgo.ProducerOpt { return kgo.ProducerBatchMaxBytes(max(n, 1024)) }),
	"buffer.memory":           number(func(n int32) kgo.ProducerOpt { return kgo.MaxBufferedBytes(int(n)) }),
	"max.request.size":        number(func(n int32) kgo.Opt { return kgo.BrokerMaxWriteBytes(max(n, 100<<20)) }),
	"retries":                 number(func(n int32) kgo.ProducerOpt { return kgo.RecordRetries(int(n)) }),
	"compression.type":        compressionOption,
	"enable.idempotence": func(v string) ([]kgo.Opt, error) {
		if strings.EqualFold(v, "false") {
			return []kgo.Opt{kgo.DisableIdempotentWrite()}, nil
		}
		return nil, nil
	},
	"max.in.flight.requests.per.connection": func(v string) ([]kgo.Opt, error) { return nil, nil },
	"transactional.id":                      text(kgo.TransactionalID),
	"transaction.timeout.ms":                millis(kgo.TransactionTimeout),
	"isolation.level":                       isolationOption,
	"auto.offset.reset":                     resetOption,
	"fetch.min.bytes":                       number(kgo.FetchMinBytes),
	"fetch.max.bytes":                       number(kgo.FetchMaxBytes),
	"max.partition.fetch.bytes":             number(kgo.FetchMaxPartitionBytes),
	"fetch.max.wait.ms":                     millis(kgo.FetchMaxWait),
	"session.timeout.ms":                    millis(kgo.SessionTimeout),
	"heartbeat.interval.ms":                 millis(kgo.HeartbeatInterval),
	"group.instance.id":                     text(kgo.InstanceID),
	"allow.auto.create.topics": func(v string) ([]kgo.Opt, error) {
		if strings.EqualFold(v, "true") {
			return []kgo.Opt{kgo.AllowAutoTopicCreation()}, nil
		}
		return nil, nil
	},
	"partition.assignment.strategy": strategyOption,
	"security.protocol":             func(string) ([]kgo.Opt, error) { return nil, nil }, // securityOptions
}

func text[O kgo.Opt](make func(string) O) func(string) ([]kgo.Opt, error) {
	return func(v string) ([]kgo.Opt, error) { return []kgo.Opt{make(v)}, nil }
}

func number[O kgo.Opt](make func(int32) O) func(string) ([]kgo.Opt, error) {
	return func(v string) ([]kgo.Opt, error) {
		n, err := strconv.ParseInt(v, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("want a number")
		}
		return []kgo.Opt{make(int32(n))}, nil
	}
}

func millis[O kgo.Opt](make func(time.Duration) O) func(string) ([]kgo.Opt, error) {
	return func(v string) ([]kgo.Opt, error) {
		n, err := strconv.ParseInt(v, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("want milliseconds")
		}
		return []kgo.Opt{make(time.Duration(n) * time.Millisecond)}, nil
	}
}

func acksOption(v string) ([]kgo.Opt, error) {
	weaker := []kgo.Opt{kgo.DisableIdempotentWrite(), kgo.MaxProduceRequestsInflightPerBroker(5)} // as a Java producer has it
	switch strings.ToLower(v) {
	case "all", "-1":
		return []kgo.Opt{kgo.RequiredAcks(kgo.AllISRAcks())}, nil
	case "1":
		return append(weaker, kgo.RequiredAcks(kgo.LeaderAck())), nil
	case "0":
		return append(weaker, kgo.RequiredAcks(kgo.NoAck())), nil
	}
	return nil, fmt.Errorf("want all, 1 or 0")
}

func compressionOption(v string) ([]kgo.Opt, error) {
	codec, ok := map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}[strings.ToLower(v)]
	if !ok {
		return nil, fmt.Errorf("want none, gzip, snappy, lz4 or zstd")
	}
	return []kgo.Opt{kgo.ProducerBatchCompression(codec)}, nil
}

func isolationOption(v string) ([]kgo.Opt, error) {
	switch v {
	case "read_committed":
		return []kgo.Opt{kgo.FetchIsolationLevel(kgo.ReadCommitted())}, nil
	case "read_uncommitted":
		return []kgo.Opt{kgo.FetchIsolationLevel(kgo.ReadUncommitted())}, nil
	}
	return nil, fmt.Errorf("want read_committed or read_uncommitted")
}

func resetOption(v string) ([]kgo.Opt, error) {
	switch v {
	case "earliest":
		return []kgo.Opt{kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())}, nil
	case "latest":
		return []kgo.Opt{kgo.ConsumeResetOffset(kgo.NewOffset().AtEnd())}, nil
	case "none":
		return []kgo.Opt{kgo.ConsumeResetOffset(kgo.NoResetOffset())}, nil
	}
	return nil, fmt.Errorf("want earliest, latest or none")
}

func strategyOption(v string) ([]kgo.Opt, error) {
	var balancers []kgo.GroupBalancer
	for item := range strings.SplitSeq(v, ",") {
		item = strings.TrimSpace(item)
		b, ok := map[string]kgo.GroupBalancer{
			"RangeAssignor": kgo.RangeBalancer(), "RoundRobinAssignor": kgo.RoundRobinBalancer(),
			"StickyAssignor": kgo.StickyBalancer(), "CooperativeStickyAssignor": kgo.CooperativeStickyBalancer(),
		}[item[strings.LastIndexByte(item, '.')+1:]]
		if !ok {
			return nil, fmt.Errorf("want RangeAssignor, RoundRobinAssignor, StickyAssignor or CooperativeStickyAssignor")
		}
		balancers = append(balancers, b)
	}
	return []kgo.Opt{kgo.Balancers(balancers...)}, nil
}
