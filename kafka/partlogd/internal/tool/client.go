package tool

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/partlog/partlog/kafka"
)

const defaultBroker = "127.0.0.1:9092"

const connectionHelp = `
Connection:
  --bootstrap-server HOST:PORT,...  brokers to begin with; default 127.0.0.1:9092
  --command-config FILE             properties of a Java client: security.protocol, sasl.mechanism, sasl.jaas.config,
                                    ssl.truststore.location (PEM) and so on
  --user NAME:PASSWORD[:MECHANISM]  log in by SASL; default PLAIN
`

// connection is what all commands need to find a broker.
type connection struct {
	brokers list
	configs list
	user    string
	props   pairs // over what the files say
}

// addTo defines the flags, with Kafka's names, of which some tools have more than one.
func (c *connection) addTo(f *flags) {
	f.Var(&c.brokers, "bootstrap-server", "")
	if f.Lookup("broker-list") == nil { // else it is something else
		f.Var(&c.brokers, "broker-list", "")
	}
	for _, name := range []string{"command-config", "consumer.config", "producer.config", "consumer-config", "producer-config"} {
		f.Var(&c.configs, name, "")
	}
	for _, name := range []string{"command-property", "consumer-property", "producer-property"} {
		f.Var(&c.props, name, "")
	}
	f.StringVar(&c.user, "user", "", "")
}

// properties are those of the files and of the command line.
func (c *connection) properties() (pairs, error) {
	all := pairs{}
	for _, name := range c.configs {
		f, err := os.Open(name)
		if err != nil {
			return nil, &UsageError{err}
		}
		props, err := kafka.ReadProperties(f)
		f.Close()
		if err != nil {
			return nil, Usagef("%s: %w", name, err)
		}
		maps.Copy(all, props)
	}
	maps.Copy(all, c.props)
	if c.user != "" {
		name, password, ok := strings.Cut(c.user, ":")
		mechanism := "PLAIN"
		if i := strings.LastIndexByte(password, ':'); i >= 0 && strings.HasPrefix(strings.ToUpper(password[i+1:]), "SCRAM-SHA-") {
			password, mechanism = password[:i], strings.ToUpper(password[i+1:])
		}
		if !ok || name == "" {
			return nil, Usagef("--user: want NAME:PASSWORD[:MECHANISM]")
		}
		if all["security.protocol"] == "" {
			all["security.protocol"] = "SASL_PLAINTEXT"
		}
		all["sasl.mechanism"], all["sasl.jaas.config"] = mechanism, jaas(name, password)
	}
	return all, nil
}

// open makes a client. more comes behind what the properties say. It connects at the first request.
func (c *connection) open(more ...kgo.Opt) (*kgo.Client, error) {
	props, err := c.properties()
	if err != nil {
		return nil, err
	}
	opts, err := clientOptions(props)
	if err != nil {
		return nil, &UsageError{err}
	}
	brokers := c.brokers
	if s := props["bootstrap.servers"]; len(brokers) == 0 && s != "" {
		brokers.Set(s)
	}
	if len(brokers) == 0 {
		brokers = list{defaultBroker}
	}
	opts = append([]kgo.Opt{
		kgo.SeedBrokers(brokers...), kgo.ClientID("partlogd"), kgo.DialTimeout(10 * time.Second), kgo.RequestTimeoutOverhead(30 * time.Second),
		kgo.RetryTimeout(time.Minute), kgo.UnknownTopicRetries(3),
	}, append(opts, more...)...)
	client, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, &UsageError{err}
	}
	return client, nil
}

// reach asks the brokers for an answer, so that a wrong address is told at once rather than retried.
func reach(ctx context.Context, client *kgo.Client) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := client.Ping(ctx); err != nil {
		return fmt.Errorf("no broker answers at %s: %w", strings.Join(seeds(client), ","), err)
	}
	return nil
}

func seeds(client *kgo.Client) []string {
	if s, ok := client.OptValue(kgo.SeedBrokers).([]string); ok {
		return s
	}
	return nil
}

// failure is an error code of an answer, with the broker's text for it, or nil.
func failure(code int16, text *string) error {
	err := kerr.ErrorForCode(code)
	if err == nil {
		return nil
	}
	if text != nil && *text != "" {
		return &brokerError{err, *text}
	}
	return err
}

// brokerError is an error code with what the broker says about it, in place of what there is to say about the code.
type brokerError struct {
	code error
	text string
}

func (e *brokerError) Error() string {
	if k, ok := errors.AsType[*kerr.Error](e.code); ok {
		return k.Message + ": " + e.text
	}
	return e.code.Error() + ": " + e.text
}

func (e *brokerError) Unwrap() error { return e.code }

// about says what an error is about.
func about(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

// unless leaves out the end of ctx: who interrupts a command knows.
func unless(ctx context.Context, err error) error {
	if ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, kgo.ErrClientClosed)) {
		return nil
	}
	return err
}
