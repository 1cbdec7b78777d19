// Builds an image from a Containerfile as an OCI layout, without a container engine.
//
// It uses the parser of buildah, and covers what the image of waxseal-controller needs: FROM scratch, ARG, LABEL, COPY of
// files, USER and ENTRYPOINT. RUN, WORKDIR and unknown instructions are errors, and other settings are left out.
package main

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	docker "github.com/fsouza/go-dockerclient"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/openshift/imagebuilder"
)

// layerWriter executes COPY: it writes files of a folder to the tar archive of the layer.
type layerWriter struct {
	folder string
	layer  *tar.Writer
}

func (w layerWriter) Copy(_ []string, copies ...imagebuilder.Copy) error {
	for _, c := range copies {
		plain := imagebuilder.Copy{Src: c.Src, Dest: c.Dest}
		if len(c.Src) != 1 || !reflect.DeepEqual(c, plain) {
			return fmt.Errorf("COPY of one file, without options, is all that is supported: %v", c)
		}
		if err := w.add(c.Src[0], c.Dest); err != nil {
			return err
		}
	}
	return nil
}

func (w layerWriter) add(source, target string) error {
	file, err := os.Open(filepath.Join(w.folder, source))
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	header := tar.Header{
		Name: strings.TrimPrefix(target, "/"), Mode: int64(info.Mode().Perm()), Size: info.Size(), ModTime: time.Unix(0, 0),
	}
	if err := w.layer.WriteHeader(&header); err != nil {
		return err
	}
	_, err = io.Copy(w.layer, file)
	return err
}

func (layerWriter) Preserve(string) error { return nil }
func (layerWriter) EnsureContainerPath(path string) error {
	return fmt.Errorf("WORKDIR is not supported: %s", path)
}
func (layerWriter) EnsureContainerPathAs(path, _ string, _ *os.FileMode) error {
	return fmt.Errorf("WORKDIR is not supported: %s", path)
}
func (layerWriter) Run(run imagebuilder.Run, _ docker.Config) error {
	return fmt.Errorf("RUN is not supported: %v", run.Args)
}
func (layerWriter) UnrecognizedInstruction(step *imagebuilder.Step) error {
	return fmt.Errorf("unknown instruction: %v", step)
}

// build executes the instructions, and returns the image's settings and its only layer.
func build(containerfile, folder string, arguments map[string]string) (*docker.Config, []byte, error) {
	node, err := imagebuilder.ParseFile(containerfile)
	if err != nil {
		return nil, nil, err
	}
	builder := imagebuilder.NewBuilder(arguments)
	base, err := builder.From(node)
	if err != nil || base != imagebuilder.NoBaseImageSpecifier {
		return nil, nil, fmt.Errorf("the base is %q instead of scratch: %v", base, err)
	}
	if err := builder.FromImage(&docker.Image{Config: &docker.Config{}}, node); err != nil {
		return nil, nil, err
	}
	var layer bytes.Buffer
	files := layerWriter{folder, tar.NewWriter(&layer)}
	for _, child := range node.Children {
		step := builder.Step()
		if err := step.Resolve(child); err != nil {
			return nil, nil, err
		}
		if err := builder.Run(step, files, false); err != nil {
			return nil, nil, err
		}
	}
	if err := files.layer.Close(); err != nil {
		return nil, nil, err
	}
	return builder.Config(), layer.Bytes(), nil
}

func write(output, architecture string, config *docker.Config, files []byte) error {
	layer, err := tarball.LayerFromOpener(
		func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(files)), nil },
		tarball.WithMediaType(types.OCILayer),
	)
	if err != nil {
		return err
	}
	settings := v1.ConfigFile{
		OS: "linux", Architecture: architecture, Created: v1.Time{Time: time.Unix(0, 0)},
		Config: v1.Config{
			User: config.User, Entrypoint: config.Entrypoint, Cmd: config.Cmd, Labels: config.Labels, Env: config.Env,
		},
	}
	image, err := mutate.ConfigFile(mutate.MediaType(empty.Image, types.OCIManifestSchema1), &settings)
	if err != nil {
		return err
	}
	image, err = mutate.AppendLayers(mutate.ConfigMediaType(image, types.OCIConfigJSON), layer)
	if err != nil {
		return err
	}
	path, err := layout.Write(output, empty.Index)
	if err != nil {
		return err
	}
	return path.AppendImage(image)
}

func run(containerfile, folder, output string, assignments []string) error {
	arguments := map[string]string{}
	for _, assignment := range assignments {
		name, value, _ := strings.Cut(assignment, "=")
		arguments[name] = value
	}
	config, files, err := build(containerfile, folder, arguments)
	if err != nil {
		return err
	}
	return write(output, arguments["TARGETARCH"], config, files)
}

func main() {
	if len(os.Args) < 4 {
		fmt.Fprintln(os.Stderr, "usage: image-builder CONTAINERFILE CONTEXT OUTPUT [ARGUMENT=VALUE…]")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3], os.Args[4:]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}
