"""From YAML files to the desired state: :mod:`reconciler.config.load` is the way in."""
