package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/partlog/partlog/kafka"
	"github.com/partlog/partlog/kafka/kafkatest"
	"github.com/partlog/partlog/kafka/partlogd/internal/tool"
	"github.com/partlog/partlog/partition"
)

// options are the command line of serve.
type options struct {
	files     []string          // property files, a broker each
	overrides map[string]string // over what all files say
	dir       string
	memory    bool
	sync      partition.SyncMode
	syncGiven bool
	topics    []kafka.NewTopic
	users     []user
	readyFile string
	control   string
	health    string
	imported  string
	persona   *kafkatest.Persona
	grace     time.Duration
	quiet     bool
	bootstrap bool   // of a quorum of several nodes
	clusterID string // to join
	logins    kafka.LoginLimits
}

// user is one who may log in.
type user struct {
	name, password string
	mechanism      string // PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512
}

const serveHelp = `Usage: partlogd [flags] [server.properties ...]

Serves Apache Kafka's protocol. Without anything: one broker on 127.0.0.1:9092 in memory, where topics come into being at
their first use. Property files are those of Apache Kafka; each is a broker, and all of them share one store. One whose
controller.quorum.voters names several nodes is a node of a cluster, whose partitions are replicated.

  partlogd                                          in memory, gone when it ends
  partlogd --dir ./data --topics orders:6,events:1  on the disk; an acknowledged record survives the loss of power
  partlogd config/server.properties                 as kafka-server-start does
  partlogd one.properties two.properties            two brokers
  partlogd --user alice:secret                      who connects has to log in (SASL PLAIN)

Flags:
  --override KEY=VALUE   a property, over what the files say; may be repeated
  --dir DIR              where the store is, in place of log.dirs
  --memory               nothing is written to the disk, whatever log.dirs says
  --topics NAME:PARTITIONS[:REPLICATION],...
                         topics that are there when it is ready
  --user NAME:PASSWORD[:MECHANISM]
                         who may log in, by PLAIN (default), SCRAM-SHA-256 or SCRAM-SHA-512; may be repeated. Without
                         a listeners property the listener becomes SASL_PLAINTEXT
  --sync MODE            when an append with acks=all is acknowledged: always (synced to the disk; the default), never (in
                         the page cache), or synced at most a time later, such as 100ms. flush.* properties come first
  --import DIR           first take over the topics of a log directory of Apache Kafka, of which no broker is running; it
                         is only read
  --ready-file FILE      written when all listeners take connections: properties bootstrap.servers, cluster.id, pid and so
                         on. Removed at the end
  --control HOST:PORT    HTTP and JSON for tests, on a loopback address only: faults, clock, crashes, moves, forks. See
                         docs/control.md
  --persona RELEASE      with --control: pass for Apache Kafka 2.8, 3.9, 4.0 or 4.1 (the default)
  --health HOST:PORT     HTTP /healthz and /readyz and nothing else, on any address
  --grace DURATION       how long requests in hand may take at the end; default 10s
  --bootstrap            the first of the nodes that controller.quorum.voters names makes a new cluster, unless its directory is
                         of one; partlogd storage format does the same once and for all
  --cluster-id ID        the cluster that a node with a new directory joins. See docs/cluster.md
  --login-failures-per-address N, --login-failures-per-user N
                         how many logins by SASL may fail in a second before answers are delayed, and ten seconds' worth of
                         debt later refused; default 10 and 5, -1 for no limit. Kafka has no such limits; each failure is
                         answered connection.failed.authentication.delay.ms later, as there
  --quiet                only warnings and errors are told
  --version              the version

Commands: partlogd COMMAND --help tells more.
%s
It ends cleanly at SIGTERM or SIGINT, and at once at a second one. Exit codes: 0, 1 failed, 2 usage, 130 ended at once.
`

func parseOptions(args []string, out io.Writer) (*options, error) {
	o := &options{overrides: map[string]string{}}
	fs := flag.NewFlagSet(programName, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.Func("override", "", func(s string) error {
		k, v, ok := strings.Cut(s, "=")
		if !ok || strings.TrimSpace(k) == "" {
			return errors.New("want KEY=VALUE")
		}
		o.overrides[strings.TrimSpace(k)] = v
		return nil
	})
	fs.StringVar(&o.dir, "dir", "", "")
	fs.BoolVar(&o.memory, "memory", false, "")
	fs.Func("topics", "", o.addTopics)
	fs.Func("user", "", o.addUser)
	fs.Func("sync", "", o.setSync)
	fs.StringVar(&o.imported, "import", "", "")
	fs.StringVar(&o.readyFile, "ready-file", "", "")
	fs.Func("control", "", func(s string) error { o.control = s; return checkLoopback(s) })
	fs.Func("persona", "", o.setPersona)
	fs.Func("health", "", func(s string) error { o.health = s; return checkAddress(s) })
	fs.DurationVar(&o.grace, "grace", 10*time.Second, "")
	fs.BoolVar(&o.quiet, "quiet", false, "")
	fs.BoolVar(&o.bootstrap, "bootstrap", false, "")
	fs.StringVar(&o.clusterID, "cluster-id", "", "")
	fs.Func("login-failures-per-address", "", func(s string) error { return setRate(&o.logins.FailuresPerAddress, s) })
	fs.Func("login-failures-per-user", "", func(s string) error { return setRate(&o.logins.FailuresPerUser, s) })
	for {
		if err := fs.Parse(args); errors.Is(err, flag.ErrHelp) {
			fmt.Fprintf(out, serveHelp, commandList())
			return nil, err
		} else if err != nil {
			return nil, tool.Usagef("%w\n(partlogd --help tells what there is)", err)
		}
		if fs.NArg() == 0 {
			break
		}
		o.files = append(o.files, fs.Arg(0))
		args = fs.Args()[1:]
	}
	if o.memory && o.dir != "" {
		return nil, tool.Usagef("--memory and --dir cannot both be: is the store in memory, or in %s?", o.dir)
	}
	if o.persona != nil && o.control == "" {
		return nil, tool.Usagef("--persona is for tests, and needs --control")
	}
	return o, nil
}

// setRate reads a number of failed logins a second.
func setRate(rate *float64, s string) error {
	n, err := strconv.ParseFloat(s, 64)
	if err != nil || !(n >= 0.1 || n == -1) {
		return errors.New("want a number a second, 0.1 or more, or -1 for no limit")
	}
	*rate = n
	return nil
}

func (o *options) setPersona(s string) error {
	for _, p := range []*kafkatest.Persona{kafkatest.Kafka28, kafkatest.Kafka39, kafkatest.Kafka40, kafkatest.Kafka41} {
		if strings.TrimPrefix(p.String(), "Kafka ") == strings.TrimPrefix(strings.ToLower(s), "kafka-") {
			o.persona = p
			return nil
		}
	}
	return errors.New("want 2.8, 3.9, 4.0 or 4.1")
}

func commandList() string {
	var b strings.Builder
	for _, c := range commands {
		fmt.Fprintf(&b, "  %-9s %s\n", c.Name, c.Summary)
	}
	return b.String()
}

func (o *options) addTopics(s string) error {
	for item := range strings.SplitSeq(s, ",") {
		parts := strings.Split(strings.TrimSpace(item), ":")
		t := kafka.NewTopic{Name: parts[0]}
		if len(parts) > 3 || t.Name == "" {
			return fmt.Errorf("%q: want NAME:PARTITIONS[:REPLICATION], and more behind commas", item)
		}
		if len(parts) > 1 {
			n, err := strconv.ParseInt(parts[1], 10, 32)
			if err != nil || n < 1 {
				return fmt.Errorf("%q: %q is no number of partitions", item, parts[1])
			}
			t.Partitions = int32(n)
		}
		if len(parts) > 2 {
			n, err := strconv.ParseInt(parts[2], 10, 16)
			if err != nil || n < 1 {
				return fmt.Errorf("%q: %q is no replication factor", item, parts[2])
			}
			t.ReplicationFactor = int16(n)
		}
		o.topics = append(o.topics, t)
	}
	return nil
}

// addUser reads NAME:PASSWORD[:MECHANISM]. A password may have colons: what follows the last one is a mechanism only if it
// is the name of one. Errors do not repeat the value.
func (o *options) addUser(s string) error {
	name, password, ok := strings.Cut(s, ":")
	u := user{name: name, password: password, mechanism: "PLAIN"}
	if i := strings.LastIndexByte(password, ':'); i >= 0 {
		switch m := strings.ToUpper(password[i+1:]); m {
		case "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512":
			u.password, u.mechanism = password[:i], m
		}
	}
	if !ok || u.name == "" || u.password == "" {
		return errUser
	}
	o.users = append(o.users, u)
	return nil
}

var errUser = errors.New("want NAME:PASSWORD or NAME:PASSWORD:MECHANISM with PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512")

func (o *options) setSync(s string) error {
	o.syncGiven = true
	switch s {
	case "always":
		o.sync = partition.SyncAlways
		return nil
	case "never":
		o.sync = partition.SyncNever
		return nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < time.Millisecond {
		return errors.New("want always, never or a time from 1ms on, such as 100ms")
	}
	o.sync = partition.SyncInterval(d)
	return nil
}

func checkAddress(s string) error {
	if _, port, err := net.SplitHostPort(s); err != nil || port == "" {
		return errors.New("want HOST:PORT")
	}
	return nil
}

// checkLoopback refuses what others could reach: whoever reaches it may do everything.
func checkLoopback(s string) error {
	host, _, err := net.SplitHostPort(s)
	if err != nil {
		return errors.New("want HOST:PORT")
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return errors.New("whoever reaches it may do everything, so only 127.0.0.1, [::1] and localhost are allowed")
	}
	return nil
}
