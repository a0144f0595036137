package tool

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const featuresHelp = `
Usage: partlogd features describe
       partlogd features upgrade [--release-version VERSION | --metadata VERSION] [--feature NAME=LEVEL]... [--dry-run]
       partlogd features downgrade [--release-version VERSION | --metadata VERSION] [--feature NAME=LEVEL]... [--unsafe]
           [--dry-run]
       partlogd features disable --feature NAME... [--unsafe] [--dry-run]

What kafka-features does. describe shows the levels that a cluster could be at, and which it is at. upgrade raises levels, when
all nodes run a program that knows them; all that are named are changed, or none.

partlog.version is the level of a cluster of partlogd's nodes, which is raised once all of them run the new program: what newer
programs do otherwise waits for it. Its supported levels are what all registered nodes know. There is no way back. A store
alone has no such level.

  partlogd features describe
  partlogd features upgrade --feature partlog.version=3

Flags:
  --feature NAME=LEVEL              a feature, and its level; may be repeated
  --metadata VERSION                metadata.version by its name, as 4.0-IV3
  --release-version VERSION         the levels of all of Kafka's features in a release, as 4.1; partlog.version is none of them
  --unsafe                          also downgrades that may lose metadata
  --dry-run                         only says whether it could be done
` + connectionHelp

const (
	metadataFeature = "metadata.version"
	firstMetadata   = 7 // 3.3-IV3
)

// metadataNames are the names of metadata.version from firstMetadata on.
var metadataNames = []string{
	"3.3-IV3", "3.4-IV0", "3.5-IV0", "3.5-IV1", "3.5-IV2", "3.6-IV0", "3.6-IV1", "3.6-IV2", "3.7-IV0", "3.7-IV1", "3.7-IV2", "3.7-IV3", "3.7-IV4",
	"3.8-IV0", "3.9-IV0", "4.0-IV0", "4.0-IV1", "4.0-IV2", "4.0-IV3", "4.1-IV0", "4.1-IV1",
}

// releases are the features that came to be on by default with a metadata.version (KIP-1022).
var releases = []struct {
	from, name string
	level      int16
}{
	{"3.9-IV0", "kraft.version", 1},
	{"4.0-IV0", "group.version", 1},
	{"4.0-IV2", "transaction.version", 2},
	{"4.1-IV0", "eligible.leader.replicas.version", 1},
}

// metadataLevel is the level of a name, or of a release, which is that of its last.
func metadataLevel(name string) (int16, error) {
	for i, known := range slices.Backward(metadataNames) {
		if known == name || strings.HasPrefix(known, name+"-") {
			return int16(firstMetadata + i), nil
		}
	}
	return 0, Usagef("Unknown metadata.version %s. Supported metadata.version are %s", name, strings.Join(metadataNames, ", "))
}

func levelName(feature string, level int16) string {
	switch {
	case feature != metadataFeature:
		return strconv.Itoa(int(level))
	case level >= firstMetadata && int(level-firstMetadata) < len(metadataNames):
		return metadataNames[level-firstMetadata]
	}
	return fmt.Sprintf("UNKNOWN [%d]", level)
}

// featureList is a flag with levels that may be repeated.
type featureList []string

func (l *featureList) String() string { return strings.Join(*l, ",") }

// Set adds one.
func (l *featureList) Set(s string) error {
	*l = append(*l, strings.TrimSpace(s))
	return nil
}

// The ways to change a level in UpdateFeatures.
const (
	wayUpgrade = 1
	waySafe    = 2
	wayUnsafe  = 3
)

func featuresCommand(ctx context.Context, args []string, s Streams) error {
	var conn connection
	var named featureList
	f := newFlags("features", featuresHelp)
	conn.addTo(f)
	f.Var(&conn.brokers, "bootstrap-controller", "") // brokers pass on what is for the controller
	f.Var(&named, "feature", "")
	metadata, release := f.String("metadata", "", ""), f.String("release-version", "", "")
	unsafe, dry := f.Bool("unsafe", false, ""), f.Bool("dry-run", false, "")
	if err := f.parse(args, s.Out); err != nil {
		return err
	}
	word := strings.Join(f.words, " ")
	var req *kmsg.UpdateFeaturesRequest
	switch word {
	case "describe":
		if len(named) > 0 || *metadata+*release != "" || *unsafe || *dry {
			return Usagef("describe shows all features; --feature and the like are for upgrade, downgrade and disable")
		}
	case "upgrade", "downgrade", "disable":
		way := int8(waySafe)
		switch {
		case word == "upgrade" && *unsafe:
			return Usagef("--unsafe is for downgrade and disable")
		case word == "disable" && *metadata+*release != "":
			return Usagef("disable takes --feature NAME")
		case word == "upgrade":
			way = wayUpgrade
		case *unsafe:
			way = wayUnsafe
		}
		var err error
		if req, err = featureUpdates(word, named, *metadata, *release, way); err != nil {
			return err
		}
		req.ValidateOnly, req.TimeoutMillis = *dry, 60_000
	default:
		return Usagef("want one of describe, upgrade, downgrade and disable\n(partlogd features --help tells what there is)")
	}
	client, err := conn.open()
	if err != nil {
		return err
	}
	defer client.Close()
	if err := reach(ctx, client); err != nil {
		return unless(ctx, err)
	}
	if req == nil {
		return unless(ctx, describeFeatures(ctx, client, s))
	}
	return unless(ctx, updateFeatures(ctx, client, s, word, req))
}

// featureUpdates are the changes that a command line names, by name.
func featureUpdates(op string, named []string, metadata, release string, way int8) (*kmsg.UpdateFeaturesRequest, error) {
	req := kmsg.NewPtrUpdateFeaturesRequest()
	add := func(name string, level int16) error {
		if slices.ContainsFunc(req.FeatureUpdates, func(u kmsg.UpdateFeaturesRequestFeatureUpdate) bool { return u.Feature == name }) {
			return Usagef("Feature %s was specified more than once.", name)
		}
		one := kmsg.NewUpdateFeaturesRequestFeatureUpdate()
		one.Feature, one.MaxVersionLevel, one.UpgradeType, one.AllowDowngrade = name, level, way, way != wayUpgrade
		req.FeatureUpdates = append(req.FeatureUpdates, one)
		return nil
	}
	if release != "" && (metadata != "" || len(named) > 0) {
		return nil, Usagef("Can not specify `--release-version` with other feature flags.")
	}
	if version := metadata + release; version != "" {
		level, err := metadataLevel(version)
		if err != nil {
			return nil, err
		}
		if err := add(metadataFeature, level); err != nil {
			return nil, err
		}
		for _, f := range releases {
			from, err := metadataLevel(f.from)
			if release == "" || err != nil || from > level && way == wayUpgrade { // nothing is upgraded to 0
				continue
			}
			if from > level {
				f.level = 0
			}
			if err := add(f.name, f.level); err != nil {
				return nil, err
			}
		}
	}
	for _, item := range named {
		name, text, given := strings.Cut(item, "=")
		var level int64
		var err error
		switch {
		case op == "disable" && given:
			return nil, Usagef("--feature %s: disable takes the name alone", item)
		case op != "disable" && !given:
			return nil, Usagef("Can't parse feature=level string %s: equals sign not found.", item)
		case op != "disable":
			if level, err = strconv.ParseInt(strings.TrimSpace(text), 10, 16); err != nil {
				return nil, Usagef("Can't parse feature=level string %s: unable to parse %s as a short.", item, text)
			}
		}
		if err := add(strings.TrimSpace(name), int16(level)); err != nil {
			return nil, err
		}
	}
	if len(req.FeatureUpdates) == 0 {
		return nil, Usagef("You must specify at least one feature to %s", op)
	}
	slices.SortFunc(req.FeatureUpdates, func(a, b kmsg.UpdateFeaturesRequestFeatureUpdate) int { return strings.Compare(a.Feature, b.Feature) })
	return req, nil
}

func describeFeatures(ctx context.Context, client *kgo.Client, s Streams) error {
	req := kmsg.NewPtrApiVersionsRequest()
	req.ClientSoftwareName, req.ClientSoftwareVersion = "partlogd", "1"
	resp, err := req.RequestWith(ctx, client)
	if err == nil {
		err = failure(resp.ErrorCode, nil)
	}
	if err != nil {
		return about("features", err)
	}
	slices.SortFunc(resp.SupportedFeatures, func(a, b kmsg.ApiVersionsResponseSupportedFeature) int { return strings.Compare(a.Name, b.Name) })
	epoch := "-"
	if resp.FinalizedFeaturesEpoch >= 0 {
		epoch = strconv.FormatInt(resp.FinalizedFeaturesEpoch, 10)
	}
	for _, f := range resp.SupportedFeatures {
		level := int16(0)
		for _, now := range resp.FinalizedFeatures {
			if now.Name == f.Name {
				level = now.MaxVersionLevel
			}
		}
		fmt.Fprintf(s.Out, "Feature: %s\tSupportedMinVersion: %s\tSupportedMaxVersion: %s\tFinalizedVersionLevel: %s\tEpoch: %s\n",
			f.Name, levelName(f.Name, f.MinVersion), levelName(f.Name, f.MaxVersion), levelName(f.Name, level), epoch)
	}
	return nil
}

// updateFeatures has the changes made, and prints what kafka-features does.
func updateFeatures(ctx context.Context, client *kgo.Client, s Streams, op string, req *kmsg.UpdateFeaturesRequest) error {
	resp, err := req.RequestWith(ctx, client)
	if err != nil {
		return about("features", err)
	}
	all := failure(resp.ErrorCode, resp.ErrorMessage)
	failed := 0
	for _, u := range req.FeatureUpdates {
		err := all
		for _, r := range resp.Results { // before version 2
			if r.Feature == u.Feature && err == nil {
				err = failure(r.ErrorCode, r.ErrorMessage)
			}
		}
		what, could, was := fmt.Sprintf("%s %s to %d", op, u.Feature, u.MaxVersionLevel), "Could not", "was"
		done := fmt.Sprintf("%sd to %d", op, u.MaxVersionLevel)
		if op == "disable" {
			what, done = "disable "+u.Feature, "disabled"
		}
		if req.ValidateOnly {
			could, was = "Can not", "can be"
		}
		if err == nil {
			fmt.Fprintf(s.Out, "%s %s %s.\n", u.Feature, was, done)
			continue
		}
		failed++
		text := err.Error()
		if b, ok := errors.AsType[*brokerError](err); ok {
			text = b.text
		}
		fmt.Fprintf(s.Out, "%s %s. %s\n", could, what, text)
	}
	if failed > 0 {
		return fmt.Errorf("%d out of %d operation(s) failed", failed, len(req.FeatureUpdates))
	}
	return nil
}
