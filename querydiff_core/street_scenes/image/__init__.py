"""How a scene becomes pixels: camera, light, optics, weather in the air, painting."""
